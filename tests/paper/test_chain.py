"""Commands of an entry, and its rows beside the paper's numbers."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ttl_lightning.cli import paper
from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.paper.chain import Chain
from ttl_lightning.paper.entries import ENTRIES
from ttl_lightning.paper.entry import Entry, Pick, Row, Sweep
from ttl_lightning.paper.page import write

ENTRY = Entry(
    "one", "One table", "nothing",
    (Sweep("search", ("strategy=ftl,ttl", "seed=0,1,2"), ("seed=0,1", "data=phantom"),
           ("data=bimcv",)),
     Sweep("later", ("strategy=ftl",), (), after="search")),
    (Row("FTL", Pick("search", "ftl"), {"auroc": 0.5, "params_m": 23.5}),
     Row("TTL-1", Pick("search", "ttl", "blocks"), {"auroc": 0.9}),
     Row("TF", Pick("search", "tf"))),
)  # fmt: skip


@pytest.fixture
def root(full: Path, cut: Path, tmp_path: Path) -> Path:
    for name, run in (("a", full), ("b", cut)):
        shutil.copytree(run, tmp_path / "out/search" / name)
    return tmp_path / "out"


def test_the_later_of_two_arguments_counts_and_each_sweep_has_its_own() -> None:
    given = ("search:data.path=/x", "trainer.max_epochs=3", "later:seed=7")
    chain = Chain(ENTRY, Path("/out"), "full", given)
    assert chain.arguments(ENTRY.sweeps[0]) == [
        "strategy=ftl,ttl", "seed=0,1,2", "data=bimcv", "data.path=/x", "trainer.max_epochs=3",
        "hydra.sweep.dir=/out/search",
    ]  # fmt: skip
    small = replace(chain, scale="small", given=())
    assert small.arguments(ENTRY.sweeps[0])[:3] == ["strategy=ftl,ttl", "seed=0,1", "data=phantom"]


def test_what_comes_after_begins_with_the_best_run(root: Path) -> None:
    chain = Chain(ENTRY, root, "full", ())
    weights = [a for a in chain.arguments(ENTRY.sweeps[1]) if a.startswith("backbone.weights=")]
    assert weights == [f"backbone.weights={root.resolve() / 'search/a'}"]


def test_rows_are_beside_the_papers_numbers(root: Path) -> None:
    there = write(Chain(ENTRY, root, "full", ()))
    with there.table.open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    text = there.page.read_text()
    measured = json.loads((root / "search/a/result.json").read_text())["metrics"]["test/auroc"]
    assert rows["FTL"]["test auroc"].startswith(f"{measured:.3f}")
    with there.table.open(newline="") as file:
        header = next(csv.reader(file))
        first = next(csv.reader(file))
    assert header[3:6] == ["test auroc", "published", "difference"]
    assert first[4] == "0.5"
    assert float(first[5].replace("−", "-")) == pytest.approx(measured - 0.5, abs=6e-4)
    assert rows["TTL-1"]["cutoff"] == "block2.1"
    assert "No run is completed of: TF." in text
    assert "<script" not in text


def test_a_cutoff_within_a_block_is_no_block(root: Path) -> None:
    path = root / "search/b/result.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "cutoff": "block2.0"}))
    chain = Chain(ENTRY, root, "full", ())
    assert chain.chosen(Pick("search", "ttl", "blocks")) is None
    assert chain.chosen(Pick("search", "ttl")) is not None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "which table or figure"),
        (["table9"], "did you mean 'table1'|unknown table or figure"),
        (["table1", "--scale", "tiny"], "unknown scale"),
        (["table1", "--scale"], "must be full or small"),
        (["table1", "sorce:data.path=x"], "no sweep of table1 begins with 'sorce'"),
    ],
)
def test_a_mistake_is_one_line(given: list[str], text: str, workdir: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        paper.run(given)
    assert not (workdir / "multirun").exists()


def test_the_list_has_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    paper.run(["--list"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in ENTRIES)


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    entry = replace(ENTRY, sweeps=(Sweep("search", ("strategy=nothing",), ()),))
    with pytest.raises(TTLError, match="one: search ended with status 2; the same command goes on"):
        Chain(entry, tmp_path, "full", ()).run()


@pytest.mark.slow
def test_an_entry_runs_from_end_to_end_and_goes_on(workdir: Path) -> None:
    given = ["gradcam", "--scale", "small", "output=out", "data.train_size=40", "seed=0"]
    paper.run(given)
    page = (workdir / "out/paper.html").read_text()
    assert page.count("<img") == 1
    assert "Small scale" in page
    before = {p: p.stat().st_mtime_ns for p in (workdir / "out").rglob("best.ckpt")}
    assert {p.parts[-5] for p in before} == {"ftl", "ttl"}
    paper.run(given)
    assert {p: p.stat().st_mtime_ns for p in (workdir / "out").rglob("best.ckpt")} == before

"""A run's files, damaged: whoever reads them says in one line which, and what can be done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ttl_lightning as ttl
from tests.conftest import SMALL
from ttl_lightning.errors import TTLError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.sweep import write

DEEP = "[" * 100_000
OPTIONS = [*SMALL, "strategy=ttl", "cutoff=block2"]


def _go_on(folder: Path) -> None:
    ttl.train(overrides=OPTIONS, run_dir=folder)


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has a second epoch to go."""
    folder = tmp_path_factory.mktemp("paused")
    ttl.train(overrides=[*OPTIONS, "until_epoch=1"], run_dir=folder)
    return folder


def _checkpoint(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        torch.save(change(torch.load(path, weights_only=True)), path)

    return damage


def _text(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _wrong_shapes(state: dict) -> dict:
    tensors = {key: torch.ones(3) for key in state["state_dict"]}
    return {**state, "state_dict": tensors}


def _result(**changes: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


FILES: dict[str, dict[str, Callable[[Path], None]]] = {
    "checkpoints/best.ckpt": {
        "torn": lambda path: path.write_bytes(path.read_bytes()[:1000]) and None,
        "empty": _text(""),
        "a list": _checkpoint(lambda state: list(state)),
        "lacking parts": _checkpoint(lambda _: {"epoch": 1}),
        "wrong shapes": _checkpoint(_wrong_shapes),
        "a folder": _folder,
    },
    "checkpoints/last.ckpt": {
        "torn": lambda path: path.write_bytes(path.read_bytes()[:1000]) and None,
        "empty": _text(""),
        "a list": _checkpoint(lambda state: list(state)),
        "lacking parts": _checkpoint(lambda state: {"state_dict": state["state_dict"]}),
        "wrong shapes": _checkpoint(_wrong_shapes),
        "other callbacks": _checkpoint(lambda state: {**state, "callbacks": {"History": 3}}),
        "a folder": _folder,
    },
    "result.json": {
        "torn": _text('{"schema": 1, "name'),
        "deep": _text(DEEP),
        "a list": _text("[]"),
        "lacking parts": _text('{"schema": 1, "name": "x"}'),
        "another kind": _result(metrics=3),
        "no model": _result(model={}),
        "a strange model": _result(
            model={
                "class_names": 3,
                "task": "x",
                "pooling": 1,
                "in_channels": "a",
                "image_size": [],
                "mean": 1,
                "std": None,
            }
        ),
        "a folder": _folder,
    },
    "config.yaml": {
        "torn": _text("a: [1, {"),
        "deep": _text(DEEP),
        "a list": _text("- a\n"),
        "lacking parts": _text("seed: 0\n"),
        "a folder": _folder,
    },
}
READERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "load": (ttl.load, ("checkpoints/best.ckpt", "result.json")),
    "open_run": (ttl.open_run, ("checkpoints/best.ckpt", "result.json", "config.yaml")),
    "go on": (_go_on, ("result.json",)),
    "resume": (_go_on, ("checkpoints/last.ckpt",)),
}
CASES = [
    (reader, file, damage)
    for reader, (_, files) in READERS.items()
    for file in files
    for damage in FILES[file]
    # what a completed run is made of is not looked at again
    if not (reader == "go on" and damage in ("no model", "a strange model"))
]


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "file", "damage"), CASES)
def test_a_damaged_file_is_named_in_one_line(
    reader: str, file: str, damage: str, cut: Path, paused: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(paused if reader == "resume" else cut, folder)
    FILES[file][damage](folder / file)
    with pytest.raises(TTLError) as caught:
        READERS[reader][0](folder)
    assert "\n" not in str(caught.value)
    assert Path(file).name in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.slow
def test_a_report_lists_what_it_cannot_read_and_shows_the_rest(cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path / "good")
    for name, damage in FILES["result.json"].items():
        shutil.copytree(cut, tmp_path / name)
        damage(tmp_path / name / "result.json")
    write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    for name in ("torn", "deep", "a list", "lacking parts", "another kind"):
        assert f"{name}/result.json" in page
    assert RunResult.load(tmp_path / "good").status == "completed"

"""Whole sweeps from the command line: what they run, what survives, what is run again."""

import csv
import html
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import ttl_lightning as ttl
from tests.data.making import data_of
from ttl_lightning.data.sources.phantom import PhantomSource
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import collect
from ttl_lightning.report.methods import group

pytestmark = pytest.mark.slow

LIMIT_S = 300
MISBEHAVING = "protocol.optimizer._target_=misbehaving.optimizer"


@pytest.fixture
def sweep(workdir, small):
    """Starts `python -m ttl_lightning -m …` in an empty folder."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}

    def start(*arguments, **options):
        command = [sys.executable, "-m", "ttl_lightning", "-m", *small, *arguments]
        return subprocess.Popen(
            command, cwd=workdir, env=env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, **options,
        )  # fmt: skip

    return start


def finished(process) -> tuple[int, str]:
    output, _ = process.communicate(timeout=LIMIT_S)
    return process.returncode, output


def results(folder: Path) -> dict[str, dict]:
    """By the job's folder."""
    return {
        path.parent.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in (folder / "multirun" / "default").rglob("result.json")
    }


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}


def test_one_job_each_raises_exits_is_killed_eats_and_hangs(sweep, workdir) -> None:
    options = ("strategy=ttl", "cutoff=block1", "seed=range(15)", MISBEHAVING,
               "hydra.launcher.n_jobs=2", "hydra.launcher.mem_gb=1.5",
               "hydra.launcher.timeout_min=1")  # fmt: skip
    status, output = finished(sweep(*options))
    assert status == 1, output
    ends = {run["seed"]: (run["status"], run["error"]) for run in results(workdir).values()}
    bad = {seed: error for seed, (end, error) in ends.items() if end != "completed"}
    assert len(ends) == 15
    assert {seed: end for seed, (end, _) in ends.items() if seed in bad} == dict.fromkeys(
        (2, 5, 8, 11, 14), "failed"
    )
    causes = {2: "no such luck", 5: "3", 8: "SIGKILL", 11: "mem_gb", 14: "timeout_min"}
    for seed, cause in causes.items():
        assert cause in bad[seed]
    page = (workdir / "multirun" / "default" / "report.html").read_text()
    table = (workdir / "multirun" / "default" / "summary.csv").read_text()
    for cause in causes.values():
        assert cause in page
        assert cause in table
    assert len(table.splitlines()) == 16

    before = written(workdir)
    (workdir / "mended").touch()
    status, output = finished(sweep(*options))
    assert status == 0, output
    again = {path for path, time_ns in written(workdir).items() if before[path] != time_ns}
    assert {path.parent.name for path in again} == {f"seed{seed}" for seed in causes}
    assert {run["status"] for run in results(workdir).values()} == {"completed"}


def test_a_mistake_is_told_before_anything_runs(sweep, workdir) -> None:
    for options, text in (
        (("strategy=ttl", "cutoff=block1,blok2"), "did you mean 'block2'"),
        (("strategy=tll,ttl", "cutoff=block1"), "did you mean 'ttl'"),
        (("strategy=ttl", "hydra/sweeper=hierarchical", "hydra.sweeper.metric=test/auroc"), "val/"),
        (("strategy=ttl", "hydra/sweeper=incremental"), "strategy=lwft"),
        (("experiment=compare", "hydra.sweeper.budget=0"), "hydra.sweeper.budget"),
        (("experiment=compare", "hydra.sweeper.metric=test/auprc"), "val/"),
    ):
        status, output = finished(sweep(*options))
        assert status == 2, output
        assert len(output.strip().splitlines()) == 1, output
        assert text in output
        assert not list(workdir.iterdir())


def test_a_search_chooses_by_validation_and_is_not_run_twice(sweep, workdir) -> None:
    options = ("hydra/sweeper=hierarchical", "strategy=ftl,ttl", "seed=0", "data.val_size=16",
               "hydra.launcher.n_jobs=2")  # fmt: skip
    status, output = finished(sweep(*options))
    assert status == 0, output
    (entry,) = json.loads((workdir / "multirun/default/search.json").read_text())["searches"]
    runs = results(workdir)
    scores = {runs[f]["cutoff"]: runs[f]["metrics"]["val/auprc"] for f in runs if "/ttl/" in f}
    assert {"block1.1", "block2.1", "block3.1", "block4.1"} <= set(scores)
    assert scores[entry["choice"]] == max(scores.values())
    before = written(workdir)
    status, output = finished(sweep(*options))
    assert status == 0, output
    assert written(workdir) == before


def test_a_comparison_needs_no_further_words_and_is_not_run_twice(sweep, workdir) -> None:
    options = ("experiment=compare", "strategy=ftl,ttl", "seed=0,1", "hydra.sweeper.budget=3",
               "hydra.launcher.n_jobs=2")  # fmt: skip
    status, output = finished(sweep(*options))
    assert status == 0, output
    folder = workdir / "multirun" / "compare"
    entries = json.loads((folder / "search.json").read_text())["searches"]
    assert [entry["strategy"] for entry in entries] == ["ftl", "ttl"]
    runs = {path.parent.relative_to(folder).as_posix(): json.loads(path.read_text())
            for path in folder.rglob("result.json")}  # fmt: skip
    assert len(runs) == 2 * (3 + 1)
    table = (folder / "table.md").read_text().splitlines()
    assert len([line for line in table if line.startswith("|")]) == 2 + 2  # a row a strategy
    for entry in entries:
        scores = {f: runs[f]["metrics"]["val/auprc"] for t in entry["trials"] for f in t["folders"]
                  if runs[f]["seed"] == 0}  # fmt: skip
        first, second = entry["chosen"]["folders"]
        assert scores[first] == max(scores.values())
        assert runs[second]["seed"] == 1
        assert html.escape(entry["reason"]) in (folder / "report.html").read_text()
    before = written(workdir)
    status, output = finished(sweep(*options))
    assert status == 0, output
    assert written(workdir) == before


def test_a_way_to_search_is_one_dataclass_and_one_file(sweep, workdir) -> None:
    (workdir / "deepest.py").write_text(
        "from dataclasses import dataclass\n"
        "from ttl_lightning.search import Choice, Method, Trial\n"
        "@dataclass(frozen=True)\n"
        "class Deepest(Method):\n"
        "    name = 'deepest'\n"
        "    skip: int\n"
        "    def plan(self, candidates):\n"
        "        name = candidates[-1 - self.skip]\n"
        "        yield [Trial(name, 'only')]\n"
        "        return Choice(name, 'It was the deepest.')\n"
    )
    folder = workdir / "mine" / "hydra" / "sweeper"
    folder.mkdir(parents=True)
    (folder / "deepest.yaml").write_text(
        "_target_: hydra_plugins.ttl_lightning.sweepers.SearchSweeper\n"
        "method: deepest.Deepest\nskip: ${trainer.max_epochs}\n"
    )
    options, place = ("hydra/sweeper=deepest", "strategy=ttl"), ("--config-dir", "mine")
    status, output = finished(sweep(*options, *place))
    assert status == 0, output
    (entry,) = json.loads((workdir / "multirun/default/search.json").read_text())["searches"]
    assert (entry["method"], entry["options"]) == ("deepest", {"skip": 1})
    assert (entry["choice"], entry["reason"]) == ("block3.1", "It was the deepest.")
    assert [run["cutoff"] for run in results(workdir).values()] == ["block3.1"]
    status, output = finished(sweep(*options, "+hydra.sweeper.skipp=2", *place))
    assert status == 2, output
    assert "option of Deepest 'skipp'; did you mean 'skip'" in output


def test_halving_trains_to_the_end_what_it_chooses(sweep, workdir) -> None:
    status, output = finished(
        sweep("hydra/sweeper=halving", "hydra.sweeper.eta=2", "trainer.max_epochs=3",
              "hydra.launcher.n_jobs=2", "hydra.sweeper.params={strategy: ttl, seed: '0,1'}")
    )  # fmt: skip
    assert status == 0, output
    (entry,) = json.loads((workdir / "multirun/default/search.json").read_text())["searches"]
    ends = {}
    for folder, run in results(workdir).items():
        ends.setdefault(run["cutoff"], set()).add((run["status"], run["train"]["epochs"]))
        log = (workdir / folder / "job.log").read_text()
        assert ("going on from" in log) == (run["train"]["epochs"] > 1)
    assert ends.pop(entry["choice"]) == {("completed", 3)}
    assert {("paused", 1)} in ends.values()


def test_two_sweeps_never_run_one_job_twice(sweep, workdir) -> None:
    options = ("strategy=ttl", "cutoff=block1,block2", "seed=0,1")
    sweeps = [sweep(*options), sweep(*options)]
    ends = [finished(process) for process in sweeps]
    assert [status for status, _ in ends] == [0, 0], ends
    logs = list((workdir / "multirun").rglob("job.log"))
    assert len(logs) == 4
    for log in logs:
        assert log.read_text().count("results in ") == 1, log


def test_ctrl_c_leaves_jobs_that_go_on(sweep, workdir) -> None:
    options = ("strategy=ttl", "cutoff=block1", "trainer.max_epochs=400")
    process = sweep(*options, start_new_session=True)
    history = workdir / "multirun/default/phantom/test_resnet/ttl/block1.1/seed0/metrics.csv"
    deadline = time.monotonic() + 60
    while not (history.is_file() and len(history.read_text().splitlines()) > 4):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    status, output = finished(process)
    assert status == 130
    assert "the same command goes on" in output
    assert "Traceback" not in output
    (run,) = results(workdir).values()
    assert run["status"] == "interrupted"
    seen = len(history.read_text().splitlines())
    status, output = finished(sweep(*options, "until_epoch=20"))
    assert status == 0, output
    (run,) = results(workdir).values()
    assert (run["status"], run["train"]["epochs"]) == ("paused", max(20, seen - 1))
    log = (history.parent / "job.log").read_text()
    assert "going on from" in log


def scored_in_one_process(folder: Path, split: str) -> tuple[list[float], dict[str, float]]:
    """What one process predicts with a run's weights, and scikit-learn's scores of it."""
    result = RunResult.load(folder)
    model = result.model
    data = data_of(
        PhantomSource,
        image_size=32, train_size=16, val_size=9, test_size=7, seed=result.seed,
        mean=model["mean"], std=model["std"],
    )  # fmt: skip
    data.setup("fit")
    task = ttl.load(folder)
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    batches = list(loader)
    with torch.no_grad():
        logits = torch.cat([task.model(batch["image"]) for batch in batches])
    positive = logits.double().softmax(1)[:, 1].numpy()
    labels = torch.cat([batch["label"] for batch in batches]).numpy()
    scores = {
        "auroc": roc_auc_score(labels, positive),
        "auprc": average_precision_score(labels, positive),
    }
    return list(positive), scores


def test_ddp_in_a_sweep_equals_one_process(sweep, workdir) -> None:
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "protocol.batch_size=4")
    options = ("strategy=ttl", "cutoff=block2,block3", "data.test_size=7", "data.val_size=9",
               "trainer.max_epochs=3")  # fmt: skip
    status, output = finished(sweep(*options, *ddp))
    assert status == 0, output
    folders = sorted(path.parent for path in (workdir / "multirun").rglob("result.json"))
    assert [folder.parent.name for folder in folders] == ["block2.1", "block3.1"]
    for folder in folders:
        result = RunResult.load(folder)
        with (folder / "predictions.csv").open() as file:
            rows = list(csv.DictReader(file))
        for split in ("val", "test"):
            probabilities, scores = scored_in_one_process(folder, split)
            ours = [float(r["probability/ground_glass"]) for r in rows if r["split"] == split]
            assert ours == pytest.approx(probabilities, abs=1e-6)
            for key, value in scores.items():
                assert result.metrics[f"{split}/{key}"] == pytest.approx(value, abs=1e-6)
        # the ranks validated one model in training, too: that of the checkpoint
        with (folder / "metrics.csv").open() as file:
            best = max(float(row["val/auprc"]) for row in csv.DictReader(file))
        assert result.metrics["val/auprc"] == pytest.approx(best, abs=1e-6)


def test_a_rank_that_dies_ends_its_job(sweep, workdir) -> None:
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "protocol.batch_size=4")
    start = time.monotonic()
    status, output = finished(sweep("strategy=ftl", "seed=100,101", *ddp, MISBEHAVING))
    assert status == 1, output
    assert time.monotonic() - start < 120
    ends = {run["seed"]: run["status"] for run in results(workdir).values()}
    assert ends == {100: "failed", 101: "completed"}


def test_a_sweep_that_is_killed_ends_as_one_that_was_not(workdir) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"
    command = [sys.executable, str(script), "--kills", "2", "--epochs", "20", "--seeds", "1"]
    done = subprocess.run(
        command, cwd=workdir, capture_output=True, text=True, timeout=2 * LIMIT_S, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal metrics: True" in done.stdout


def test_the_cutoff_that_full_finetunings_point_at(sweep, workdir) -> None:
    options = ("hydra/sweeper=detect", "strategy=ttl", "seed=0,1", "hydra.launcher.n_jobs=1")
    status, output = finished(sweep(*options))
    assert status == 0, output
    runs = results(workdir)
    assert sorted(run["strategy"] for run in runs.values()) == ["ftl", "ftl", "ttl", "ttl"]
    (entry,) = json.loads((workdir / "multirun" / "default" / "search.json").read_text())[
        "searches"
    ]
    tables = [
        {row["unit"]: row for row in json.loads(path.read_text())["rows"]}
        for path in sorted((workdir / "multirun").rglob("analysis/detect.json"))
    ]
    assert len(tables) == 2
    kept = []
    for unit in tables[0]:
        mean, random = (sum(t[unit][key] for t in tables) / 2 for key in ("mean", "random_mean"))
        if random <= 0.5 and (mean - random) / (1 - random) > 0.5:
            kept.append(unit)
    expected = kept[-1] if kept else next(iter(tables[0]))
    cuts = {run["cutoff"] for run in runs.values() if run["strategy"] == "ttl"}
    assert cuts == {expected} == {entry["choice"]}
    assert "he first to change it would be " in entry["reason"]
    before = written(workdir)
    status, output = finished(sweep(*options))
    assert status == 0, output
    assert "2 of 2 jobs are done already" in output
    assert written(workdir) == before, "trained again"


def test_the_cutoffs_that_probes_rank_highest_race(sweep, workdir) -> None:
    options = ("hydra/sweeper=predict", "strategy=ttl", "seed=0,1", "trainer.max_epochs=2")
    status, output = finished(sweep(*options))
    assert status == 0, output
    (entry,) = json.loads((workdir / "multirun" / "default" / "search.json").read_text())[
        "searches"
    ]
    promised = entry["options"]["predicted"]
    assert len(promised) == 5
    field = set(sorted(promised, key=lambda unit: -promised[unit])[:3])  # ties: the earlier
    runs = results(workdir)
    assert {run["cutoff"] for run in runs.values()} == field
    ended = [run for run in runs.values() if run["status"] == "completed"]
    assert {run["cutoff"] for run in ended} == {entry["choice"]}
    assert len(ended) == 2
    before = written(workdir)
    status, output = finished(sweep(*options))
    assert status == 0, output
    assert written(workdir) == before, "trained again"


def test_half_a_sweep_is_taken_up_with_other_words(sweep, workdir) -> None:
    options = ("strategy=ttl", "trainer.max_epochs=3")
    status, output = finished(sweep(*options, "cutoff=block2", "seed=0"))
    assert status == 0, output
    status, output = finished(sweep(*options, "cutoff=block2", "seed=1", "until_epoch=1"))
    assert status == 0, output
    kept = {path: (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in workdir.rglob("seed0/**/*") if path.is_file()}  # fmt: skip
    assert any(path.name == "last.ckpt" for path in kept)
    # the later override of a key is the one that counts
    words = ("data.num_workers=1", "data.cache=disk", "data.cache_dir=elsewhere", "trainer=cpu",
             "trainer.accelerator=auto", "trainer.devices='1'")  # fmt: skip
    status, output = finished(sweep(*options, "cutoff=block2.1,3", "seed=0,1", *words))
    assert status == 0, output
    assert "cutoff=block2.1 and cutoff=3 are one unit" in output
    assert "1 of 2 jobs are done already" in output
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept} == kept
    runs = results(workdir)
    folder = "multirun/default/phantom/test_resnet/ttl/block2.1"
    assert sorted(runs) == [f"{folder}/seed{seed}" for seed in (0, 1)]
    assert {run["status"] for run in runs.values()} == {"completed"}
    log = (workdir / folder / "seed1" / "job.log").read_text()
    assert "going on from" in log
    assert (workdir / "elsewhere").is_dir()
    # and the report compares both seeds as one method
    (found,) = group(collect(workdir / "multirun" / "default").runs)
    assert [(m.cutoff, m.variant, len(m.runs)) for m in found.methods] == [("block2.1", (), 2)]

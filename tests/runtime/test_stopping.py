"""Runs that are stopped from outside: what is left, and that it goes on to the same end."""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ttl_lightning as ttl
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runtime.stopping import (
    INTERRUPTED,
    TERMINATED,
    Terminated,
    interruption,
    status_of,
)

OPTIONS = [
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "data.train_size=64",
    "data.val_size=24", "data.test_size=24", "protocol.batch_size=8", "trainer.accelerator=cpu",
    "strategy=ttl", "cutoff=block2", "latency=false",
]  # fmt: skip


def test_the_status_is_what_a_scheduler_expects() -> None:
    assert status_of(Terminated()) == TERMINATED == 128 + signal.SIGTERM
    assert status_of(KeyboardInterrupt()) == INTERRUPTED == 128 + signal.SIGINT


def test_an_exit_that_came_from_an_interrupt_is_one() -> None:
    def lightning_does_so() -> None:
        try:
            raise Terminated
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as caught:
        lightning_does_so()
    assert isinstance(interruption(caught.value), Terminated)
    assert interruption(SystemExit(3)) is None
    assert interruption(ValueError()) is None


def _train(folder: Path, options: list[str]) -> None:
    ttl.train(overrides=options, run_dir=folder)


def _killed_after(seconds: float, folder: Path, options: list[str]) -> int:
    """Train in a child that is killed after so long; its exit status, -9 if it was killed.

    The child is forked from a server that has imported everything and trained nothing: autograd
    refuses to work in the fork of a process that has (as this one, once other tests have run).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ttl_lightning.runs.fit"])
    child = context.Process(target=_train, args=(folder, options))
    child.start()
    child.join(seconds)
    child.kill()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _whole(folder: Path) -> str:
    """That nothing in a folder is torn, and how far the run is."""
    for path in folder.rglob("*.ckpt"):
        torch.load(path, weights_only=True)
    rows = folder / "metrics.csv"
    if rows.is_file():
        with rows.open() as file:
            assert all(None not in row.values() for row in csv.DictReader(file))
    return RunResult.load(folder).status if (folder / "result.json").is_file() else "not begun"


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(tmp_path: Path) -> None:
    options = [*OPTIONS, "trainer.max_epochs=12"]
    started = time.monotonic()
    whole = ttl.train(overrides=options, run_dir=tmp_path / "whole")
    takes = time.monotonic() - started
    draw, folder, seen = random.Random(0), tmp_path / "killed", []
    for kill in range(20):
        # from before the first epoch to after the last
        status = _killed_after(draw.uniform(0.05, 0.5) * takes, folder, options)
        seen.append((kill, status, _whole(folder)))
    print("\nkill -9:", *(f"{state} ({status})" for _, status, state in seen), sep="\n  ")  # noqa: T201 - pytest -s
    assert sum(status == -signal.SIGKILL for _, status, _ in seen) >= 1
    resumed = ttl.train(overrides=options, run_dir=folder)
    assert resumed.status == "completed"
    assert resumed.metrics == whole.metrics
    assert not list(folder.rglob(".*.part"))
    for name in ("best", "last"):
        one, other = (
            torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
            for run in (tmp_path / "whole", folder)
        )
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGTERM, TERMINATED, "SIGTERM"), (signal.SIGINT, INTERRUPTED, "Ctrl-C")],
)
def test_a_signal_ends_a_run_with_its_status_and_one_closing_line(
    number: int, status: int, word: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    options = [*OPTIONS, "trainer.max_epochs=2000", f"hydra.run.dir={folder}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ttl_lightning", *options],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    (line,) = [text for text in errors.splitlines() if text.startswith("stopped by")]
    assert line == (
        f"stopped by {word}: the same command with hydra.run.dir={folder} goes on from here."
    )
    assert "Traceback" not in errors
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert not list(folder.rglob(".*.part"))

"""What `--smoke` of a benchmark runs on: tiny runs, in a folder of their own."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import ttl_lightning as ttl

SMALL = (
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "data.train_size=32",
    "data.val_size=24", "data.test_size=24", "protocol.batch_size=16", "trainer.max_epochs=2",
    "trainer.accelerator=cpu", "latency=false",
)  # fmt: skip


@contextlib.contextmanager
def small_sweep(*jobs: Sequence[str]) -> Iterator[Path]:
    """A folder with one completed run a job, removed afterwards.

    Args:
        jobs: the overrides of each, beside `SMALL`.
    """
    with tempfile.TemporaryDirectory() as name:
        for number, job in enumerate(jobs):
            with contextlib.redirect_stdout(io.StringIO()):
                ttl.train(overrides=[*SMALL, *job], run_dir=Path(name) / f"{number}")
        yield Path(name)


def every_cutoff() -> list[list[str]]:
    """Jobs of an exhaustive search."""
    cutoffs = ttl.create_backbone("test_resnet", weights=None).cutoffs
    return [["strategy=ttl", f"cutoff={cutoff}"] for cutoff in cutoffs]

"""A trained model scored on its validation and its test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.checkpoints import sha256
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.runs.build import Parts
from ttl_lightning.tasks.reports import Described, Table


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model is worth; by names as in a result.

    Attributes:
        weights: which were scored, by their file and its hash; None where nothing was kept.
        concluded: further fields of the result, see `Hooks.concluded`.
    """

    weights: dict[str, str | None]
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    notes: dict[str, str]
    concluded: dict[str, Any]


def evaluate(parts: Parts, there: RunFolder, described: Described) -> Scored:
    """Score the best epoch's model.

    Raises:
        WeightsError: if its weights are gone; what is in memory may be trained by nobody.
    """
    weights, task = _to_score(parts.trainer, there), parts.task
    common: dict[str, Any] = {
        "datamodule": parts.data,
        "ckpt_path": str(there.best) if weights["sha256"] else None,
        "weights_only": True,
        "verbose": False,
    }
    parts.trainer.validate(task, **common)
    parts.trainer.test(task, **common)
    metrics: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    for split, scores in task.scores.items():
        metrics |= {f"{split}/{key}": value for key, value in scores.values.items()}
        notes |= {f"{split}/{key}": note for key, note in scores.notes.items()}
    table = task.predictions["test"]
    patients = parts.data.patients("test")
    drawn = None if patients is None else of_samples(patients, table)
    intervals = task.report.intervals(table, described, drawn)
    for metric in task.report.metrics:
        if metric.no_interval:
            notes[f"intervals/test/{metric.name}"] = metric.no_interval
    spans = {f"test/{key}": span for key, span in intervals.items()}
    return Scored(weights, metrics, spans, notes, task.concluded())


def of_samples(names: Sequence[str], table: Table) -> list[str]:
    """Of a split's names those of a table's samples, in its order."""
    return [names[int(number)] for number in table.ids]


def _to_score(trainer: pl.Trainer, there: RunFolder) -> dict[str, str | None]:
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # which writes no checkpoints
        return {"file": None, "sha256": None}
    if not there.best.is_file():
        raise WeightsError(
            f"{there.best} is gone, so the best epoch cannot be scored: put it back, or give "
            "resume=never to train anew."
        )
    file: Path = there.best.relative_to(there.path)
    return {"file": file.as_posix(), "sha256": sha256(there.best)}

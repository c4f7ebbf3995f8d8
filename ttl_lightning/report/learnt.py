"""Whether trainings have learnt at all: what has not is nothing to recommend or to beat."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.paired import Scored, mean_over_classes
from ttl_lightning.metrics.parts import auroc_parts
from ttl_lightning.report.text import count

HISTORY = "metrics.csv"
MONITOR = "val/auprc"
# Cosine schedules end at their best epoch with gains below this; what gains more was cut off.
STILL_RISING = 0.02
# A class of fewer test samples than this share may rightly never be the likeliest.
RARE = 0.2
Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is wrong with which trainings of a method.

    Attributes:
        faults: by seed, in words.
        seeds: how many trainings were looked at.
    """

    faults: Mapping[int, str]
    seeds: int

    @property
    def failed(self) -> bool:
        """Whether half of the trainings or more have a fault; a mean over these means little."""
        return bool(self.faults) and 2 * len(self.faults) >= self.seeds

    @property
    def text(self) -> str:
        """`predicts one class alone, in 2 of 3 seeds: 0, 2`; of a lone training the fault only."""
        if self.seeds == 1:
            return next(iter(self.faults.values()), "")
        seeds: dict[str, list[str]] = {}
        for seed, fault in sorted(self.faults.items()):
            seeds.setdefault(fault, []).append(str(seed))
        total = count(self.seeds, "seed")
        return "; ".join(
            f"{fault}, in {len(of)} of {total}: {', '.join(of)}" for fault, of in seeds.items()
        )


NOTHING_AMISS = Learnt({}, 0)


def fault(table: Scored | None, history: Sequence[float], task: object = None) -> str:
    """Why a training has not learnt; "" if it has, or nothing tells that it has not.

    Args:
        table: its predictions for the test split, where there are any.
        history: `MONITOR` of each epoch, where it was kept.
        task: what the predictions are of, as `tasks.metrics.TASKS`.
    """
    found = []
    if table is not None and one_class_alone(table, task):
        found.append("predicts one class alone")
    if table is not None and at_chance(table):
        found.append("its test AUROC is not above chance")
    if still_rising(history):
        found.append("was still improving at its last epoch")
    return " and ".join(found)


def at_chance(table: Scored) -> bool:
    """Whether the 95 % interval of AUROC, by DeLong, reaches 0.5."""
    try:
        area, parts = mean_over_classes(auroc_parts, table)
    except DataError:
        return False  # what cannot be computed is said where it is compared
    return area - Z95 * math.sqrt(float(parts @ parts)) <= 0.5


def one_class_alone(table: Scored, task: object = None) -> bool:
    """Whether one class is the likeliest of every sample, while another is not rare.

    Labels that may occur together have no likeliest one.
    """
    if task == "multilabel" or np.isnan(table.targets).any():
        return False
    scores, targets = table.scores, table.targets
    if scores.shape[1] == 1:
        scores, targets = (np.hstack([1 - both, both]) for both in (scores, targets))
    likeliest = scores.argmax(axis=1)
    if (likeliest != likeliest[0]).any():
        return False
    return bool((np.delete(targets.mean(axis=0), likeliest[0]) >= RARE).any())


def still_rising(history: Sequence[float]) -> bool:
    """Whether the last epoch is the best one, by more than `STILL_RISING` over the last fifth."""
    late = max(1, len(history) // 5)
    before = history[:-late]
    if not before or history[-1] < max(history):
        return False
    return history[-1] - max(before) > STILL_RISING


def read_history(folder: Path) -> list[float]:
    """`MONITOR` of each epoch of a run; none where the run has no such file or column.

    Raises:
        DataError: if the file cannot be read.
    """
    path = folder / HISTORY
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            cells = [row.get(MONITOR) for row in csv.DictReader(stream)]
        values = [float(cell) for cell in cells if cell]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{HISTORY} cannot be read: {error}.") from error
    return [value for value in values if math.isfinite(value)]

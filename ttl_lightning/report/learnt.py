"""Whether trainings have learnt at all: what has not is nothing to recommend or to beat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttl_lightning.metrics.paired import Scored
from ttl_lightning.pages.text import count
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.history import read
from ttl_lightning.tasks.reports import Described, TaskReport


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


def fault(
    table: Scored | None, history: Sequence[float], report: TaskReport, described: Described
) -> str:
    """Why a training has not learnt; "" if it has, or nothing tells that it has not.

    Args:
        table: its predictions for the test split, where there are any.
        history: the criterion of each epoch, where it was kept.
        report: of its task.
        described: what its result says of the model.
    """
    found = [f.text for f in report.faults if table is not None and f.found(table, described)]
    if still_rising(history, report):
        found.append("was still improving at its last epoch")
    return " and ".join(found)


def still_rising(history: Sequence[float], report: TaskReport) -> bool:
    """Whether the last epoch is the best one, by more than `rising` over the last fifth."""
    history = [report.first.sign * value for value in history]
    late = max(1, len(history) // 5)
    before = history[:-late]
    if report.rising is None or not before or history[-1] < max(history):
        return False
    return history[-1] - max(before) > report.rising


def read_history(folder: Path, criterion: str) -> list[float]:
    """The criterion of each epoch of a run; none where the run has no such file or column.

    Raises:
        DataError: if the file cannot be read.
    """
    path = RunFolder(folder).history
    rows = read(path) if path.exists() else []
    values = (row.get(criterion, math.nan) for row in rows)
    return [value for value in values if math.isfinite(value)]

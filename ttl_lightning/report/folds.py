"""The folds of a cross-validation as one table: each sample is predicted once, and scored once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.paired import Scored, by_draw
from ttl_lightning.metrics.predictions import PATIENT, Columns, read_test
from ttl_lightning.pages.text import NONE
from ttl_lightning.records.files import csv_text
from ttl_lightning.report.methods import Method

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What every fold's model said of the samples that it had not seen.

    Attributes:
        method: whose folds these are.
        seed: theirs.
        folds: how many.
        columns: the folds' test predictions, below each other, with `fold`.
        scores: by the metric's label its value, and the 95 % interval for other samples.
    """

    method: Method
    seed: int
    folds: int
    columns: Columns
    scores: Mapping[str, tuple[float, float, float]]

    @property
    def words(self) -> str:
        """In a sentence."""
        shown = (
            f"{label} {value:.3f} ({low:.3f} to {high:.3f})"
            for label, (value, low, high) in self.scores.items()
        )
        return (
            f"{self.method.name} {self.method.cutoff or ''}, all {self.folds} folds of seed "
            f"{self.seed} in one table, {len(self.columns['id'])} samples: "
            f"{', '.join(shown) or NONE}; 95 % intervals for other samples, not other trainings."
        ).replace(" ,", ",")


def out_of_fold(root: Path, methods: Iterable[Method]) -> tuple[list[OutOfFold], list[str]]:
    """The joined folds of each method and seed that has all of them, and why others are not.

    Args:
        root: the sweep's folder.
        methods: of one group.
    """
    found, problems = [], []
    for method in methods:
        seeds: dict[int, dict[int, Path]] = defaultdict(dict)
        counts = {run.result.folds for run in method.runs}
        for run in method.runs:
            if run.result.fold is not None:
                seeds[run.result.seed][run.result.fold] = root / run.folder
        for seed, by_fold in sorted(seeds.items()):
            folds = max(count or 0 for count in counts)
            if len(by_fold) < folds:
                there = f"{len(by_fold)} of {folds} folds of seed {seed}"
                problems.append(f"{method.name}: {there} are completed, so they are not joined.")
                continue
            try:
                found.append(_joined(method, seed, by_fold))
            except DataError as error:
                problems.append(f"{method.name}, folds of seed {seed}: {error}")
    return found, problems


def _joined(method: Method, seed: int, by_fold: Mapping[int, Path]) -> OutOfFold:
    tables = {fold: read_test(folder) for fold, folder in sorted(by_fold.items())}
    first = next(iter(tables.values()))
    if any(table.keys() != first.keys() for table in tables.values()):
        raise DataError("the folds' predictions have different columns.")
    columns: dict[str, Sequence[str]] = {
        name: tuple(cell for table in tables.values() for cell in table[name]) for name in first
    }
    if len(set(columns["id"])) < len(columns["id"]):
        raise DataError("a sample is tested in two folds.")
    columns["fold"] = tuple(str(fold) for fold, table in tables.items() for _ in table["id"])
    described = method.runs[0].result.model
    patients = columns.get(PATIENT)
    read = replace(
        method.report.read(columns, described),
        patients=None if patients is None else tuple(patients),
    )
    return OutOfFold(method, seed, len(tables), columns, _scores(method, read))


def _scores(method: Method, read: Scored) -> dict[str, tuple[float, float, float]]:
    scores = {}
    for metric in method.report.table:
        if metric.paired is None:
            continue
        value, parts = metric.paired.kernel(read)
        sums = by_draw(parts, read.draws)
        side = Z95 * math.sqrt(float(np.sum(sums**2)))
        scores[metric.label] = (value, value - side, min(value + side, 1.0))
    return scores


def as_table(found: Sequence[OutOfFold]) -> str:
    """A .csv file's text: method, cutoff, seed, fold, and the predictions' own columns."""
    names = [name for name in found[0].columns if name not in ("fold", "split")]
    rows = (
        [one.method.name, one.method.cutoff or "", str(one.seed), fold, *cells]
        for one in found
        for fold, *cells in zip(
            one.columns["fold"], *(one.columns[name] for name in names), strict=True
        )
    )
    return csv_text(["method", "cutoff", "seed", "fold", *names], rows)

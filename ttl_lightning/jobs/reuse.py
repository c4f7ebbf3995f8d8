"""What full finetunings say of each unit's features, by an analysis in a process of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, variance
from typing import Any, NamedTuple

from ttl_lightning.errors import DataError, TTLError
from ttl_lightning.interpret.commands.detect import report
from ttl_lightning.interpret.commands.options import Detect
from ttl_lightning.interpret.detection import (
    HALVES,
    UNITS,
    Detection,
    Error,
    Reuse,
    detect,
    excess,
    judged,
)
from ttl_lightning.jobs.process import call
from ttl_lightning.records.schema import finite
from ttl_lightning.runs.callbacks.progress import quiet
from ttl_lightning.runs.open import open_run
from ttl_lightning.runtime.shortage import shortage

Means = tuple[float | None, float | None]


class Measured(NamedTuple):
    """Mean similarity of each unit before and after training, and of random features; its error."""

    means: dict[str, Means]
    error: Error | None


def measured(run: Path, split: str) -> Measured:
    """What one full finetuning says, its error from halves of the images.

    Args:
        run: the folder of a completed full finetuning.
        split: whose images are used.

    Raises:
        DataError: if the analysis failed, in its own words.
    """
    try:
        return call(analysed, run, split)
    except (TTLError, OSError, MemoryError, RuntimeError) as error:
        raise DataError(f"{run} could not be analysed: {shortage(error) or error}") from error


def analysed(run: Path, split: str) -> Measured:
    """What `analyze detect` finds, which is written into the run's folder, too."""
    with quiet():
        opened = open_run(run)
        found = report(opened, Detect(split=split))
    found.write(opened.place("detect"))
    rows: Any = finite(found.rows)
    size = found.content["detection"]["error"]
    means = {row["unit"]: (row["mean"], row["random_mean"]) for row in rows}
    return Measured(means, None if size is None else Error(size, HALVES))


def combined(runs: Sequence[Measured]) -> Measured:
    """Several full finetunings as one: means, and their error from the spread between them.

    Args:
        runs: one or more; of a single one its own error is kept.
    """
    tables = [run.means for run in runs]
    return Measured(mean_of(tables), error_of(tables) if len(runs) > 1 else runs[0].error)


def error_of(tables: Sequence[dict[str, Means]]) -> Error | None:
    """Standard error of a unit's mean excess over runs, as its root mean square over the units.

    Args:
        tables: of two runs or more.

    Returns:
        None if too few units can be judged in all of them, of which one alone may agree by chance.
    """
    squares = []
    for unit in tables[0]:
        reuse = [Reuse(*table[unit]) for table in tables]
        if all(judged(one) for one in reuse):
            squares.append(variance([excess(one) for one in reuse]) / len(reuse))
    if len(squares) * (len(tables) - 1) < UNITS:
        return None
    return Error(math.sqrt(fmean(squares)), f"of the mean of {len(tables)} full finetunings")


def mean_of(tables: Iterable[dict[str, Means]]) -> dict[str, Means]:
    """Means over runs; None for a unit that is None in any of them."""
    rows = list(tables)
    return {
        unit: (mean([row[unit][0] for row in rows]), mean([row[unit][1] for row in rows]))
        for unit in rows[0]
    }


def pointed_at(
    means: dict[str, Means],
    threshold: float,
    candidates: Sequence[str],
    error: Error | None = None,
) -> Detection:
    """The paper's rule, among these cutoffs.

    Raises:
        ConfigError: if the threshold is not from 0 to 1.
        DataError: if no candidate can be judged.
    """
    reuse = {unit: Reuse(*pair) for unit, pair in means.items()}
    return detect(reuse, threshold, candidates=candidates, error=error)


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, None if any of them is."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None

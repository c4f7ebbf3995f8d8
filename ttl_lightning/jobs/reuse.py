"""What full finetunings say of each unit's features, by an analysis in a process of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Any, NamedTuple

from ttl_lightning.errors import DataError, TTLError, check_choice, check_number
from ttl_lightning.interpret.commands.detect import report
from ttl_lightning.interpret.commands.options import Detect
from ttl_lightning.interpret.defaults import CHOOSING, THRESHOLD
from ttl_lightning.interpret.detection import HALVES, UNITS, Error, Reuse, detect, excess, judged
from ttl_lightning.jobs.plan import Group, Overrides, without
from ttl_lightning.jobs.process import call
from ttl_lightning.jobs.session import Planned, Prepared
from ttl_lightning.records.files import finite
from ttl_lightning.runs.callbacks.progress import quiet
from ttl_lightning.runs.open import open_run
from ttl_lightning.runtime.shortage import shortage
from ttl_lightning.search import Detected, Method

log = logging.getLogger(__name__)


class Measured(NamedTuple):
    """Mean similarity of each unit before and after training, and of random features; its error."""

    means: dict[str, Reuse]
    error: Error | None


@dataclass(frozen=True)
class DetectedByReuse(Prepared[Measured]):
    """The paper's rule: one training, where full finetunings of the same seeds point at.

    Args:
        threshold: what the excess over chance must be above; see `interpret.detection`.
        split: whose images the finetunings are judged by.

    Raises:
        ConfigError: if an option is out of range.
    """

    threshold: float = THRESHOLD
    split: str = "val"

    def __post_init__(self) -> None:
        check_number("hydra.sweeper.threshold", self.threshold, 0, 1)
        check_choice("hydra.sweeper.split", self.split, CHOOSING)

    def jobs(self, group: Group, _: Sequence[str]) -> list[Overrides]:
        """A full finetuning a seed."""
        # a cutoff that an experiment's file gives is none of theirs
        uncut = ("cutoff=null",) if group.spec.cutoff is not None else ()
        whole = (*without(group.overrides, "strategy"), "strategy=ftl", *uncut)
        return [(*whole, *seed) for seed in group.seeds]

    def look(self, jobs: Sequence[Planned], run: Callable[[Sequence[Planned]], None]) -> Measured:
        """Train them, and compare each with what it began with.

        Raises:
            DataError: if none completed, or one could not be analysed.
        """
        run(jobs)
        completed = [job.folder for job, _ in jobs if (found := job.result()) and found.succeeded]
        if not completed:
            where = jobs[0][0].folder
            raise DataError(f"no full finetuning completed to detect a cutoff in: see {where}.")
        log.info("looking for the cutoff in %d full finetunings", len(completed))
        return combined([measured(folder, self.split) for folder in completed])

    def method(self, found: Measured, candidates: Sequence[str]) -> Method:
        """The one training."""
        chosen = detect(found.means, self.threshold, candidates=candidates, error=found.error)
        return Detected(chosen.unit, chosen.reason[0].upper() + chosen.reason[1:])


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
    means = {row["unit"]: Reuse(row["mean"], row["random_mean"]) for row in rows}
    return Measured(means, None if size is None else Error(size, HALVES))


def combined(runs: Sequence[Measured]) -> Measured:
    """Several full finetunings as one: means, and their error from the spread between them.

    Args:
        runs: one or more; of a single one its own error is kept.
    """
    tables = [run.means for run in runs]
    return Measured(mean_of(tables), error_of(tables) if len(runs) > 1 else runs[0].error)


def error_of(tables: Sequence[dict[str, Reuse]]) -> Error | None:
    """Standard error of a unit's mean excess over runs, as its root mean square over the units.

    Args:
        tables: of two runs or more.

    Returns:
        None if too few units can be judged in all of them, of which one alone may agree by chance.
    """
    squares = []
    for unit in tables[0]:
        reuse = [table[unit] for table in tables]
        if all(map(judged, reuse)):
            squares.append(variance([excess(one) for one in reuse]) / len(reuse))
    if len(squares) * (len(tables) - 1) < UNITS:
        return None
    return Error(math.sqrt(fmean(squares)), f"of the mean of {len(tables)} full finetunings")


def mean_of(tables: Sequence[dict[str, Reuse]]) -> dict[str, Reuse]:
    """Means over runs; None for a unit that is None in any of them."""
    found = {unit: [table[unit] for table in tables] for unit in tables[0]}
    return {
        unit: Reuse(mean([one.mean for one in of]), mean([one.random_mean for one in of]))
        for unit, of in found.items()
    }


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, None if any of them is."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None

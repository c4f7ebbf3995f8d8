"""What linear probes of the pretrained network promise of each cutoff."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import DataError
from ttl_lightning.interpret.pretrained import probe
from ttl_lightning.jobs.plan import Group, Overrides
from ttl_lightning.jobs.process import call
from ttl_lightning.jobs.reuse import mean
from ttl_lightning.jobs.session import Planned, Prepared
from ttl_lightning.search import Method, Predicted

log = logging.getLogger(__name__)

Scores = dict[str, float | None]


@dataclass(frozen=True)
class PredictedByProbes(Prepared[Scores]):
    """A race among the cutoffs whose pretrained features a linear classifier reads best.

    Args:
        max_epochs: as of `search.Predicted`, as the others.
        keep: how many cutoffs race.
        eta: each rung keeps one in so many.
        min_epochs: epochs of the first rung; None: `1 / eta` of a whole training.

    Raises:
        ConfigError: if an option is out of range.
    """

    max_epochs: int
    keep: int = 3
    eta: int = 3
    min_epochs: int | None = None

    def __post_init__(self) -> None:
        self.method({}, ())  # before the probes take their time

    def jobs(self, group: Group, candidates: Sequence[str]) -> list[Overrides]:
        """One a seed, whose data and backbone are probed."""
        return [(*group.overrides, f"cutoff={candidates[0]}", *seed) for seed in group.seeds]

    def look(self, jobs: Sequence[Planned], _: object) -> Scores:
        """Probe; nothing is trained."""
        log.info("probing the pretrained network, for %d seeds", len(jobs))
        return predicted([job.spec for job, _ in jobs])

    def method(self, found: Scores, _: Sequence[str]) -> Method:
        """The race."""
        return Predicted(found, self.max_epochs, self.keep, self.eta, self.min_epochs)


def predicted(specs: Sequence[RunSpec]) -> Scores:
    """The mean over seeds of the probes' validation score, by unit; None where one is undefined.

    Args:
        specs: a job's of each seed, whatever its cutoff.

    Raises:
        TTLError: if data or weights cannot be used, no class can be probed, or the process died.
    """
    try:
        found = [call(scores, spec) for spec in specs]
    except ChildProcessError as error:
        raise DataError(
            "the process that probed the features was killed (does the system lack memory?)."
        ) from error
    return {unit: mean([of_seed[unit] for of_seed in found]) for unit in found[0]}


def scores(spec: RunSpec) -> Scores:
    """The probes' validation score of one configuration, by unit."""
    return {unit: result.score for unit, result in probe(spec).items()}

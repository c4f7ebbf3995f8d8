"""What linear probes of the pretrained network promise of each cutoff."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from ttl_lightning.errors import DataError
from ttl_lightning.interpret.pretrained import probe
from ttl_lightning.jobs.process import call
from ttl_lightning.jobs.reuse import mean

Scores = dict[str, float | None]
# the metric that everything else chooses by, too
METRIC = "val/auprc"


def predicted(configs: Sequence[DictConfig]) -> Scores:
    """The mean over seeds of the probes' validation AUPRC, by unit; None where one is undefined.

    Args:
        configs: a job's of each seed, whatever its cutoff.

    Raises:
        TTLError: if data or weights cannot be used, no class can be probed, or the process died.
    """
    try:
        found = [call(scores, cfg) for cfg in configs]
    except ChildProcessError as error:
        raise DataError(
            "the process that probed the features was killed (does the system lack memory?)."
        ) from error
    return {unit: mean([of_seed[unit] for of_seed in found]) for unit in found[0]}


def scores(cfg: DictConfig) -> Scores:
    """The probes' validation AUPRC of one configuration, by unit."""
    return {unit: result.metrics[METRIC] for unit, result in probe(cfg).items()}

"""What linear probes of the pretrained network promise of each cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from omegaconf import DictConfig

from ttl_lightning.errors import DataError
from ttl_lightning.interpret.pretrained import probe
from ttl_lightning.jobs.reuse import mean

Scores = dict[str, float | None]


def predicted(configs: Sequence[DictConfig]) -> Scores:
    """The mean over seeds of the probes' validation score, by unit; None where one is undefined.

    Args:
        configs: a job's of each seed, whatever its cutoff.

    Raises:
        TTLError: if data or weights cannot be used, no class can be probed, or the process died.
    """
    # a process of its own, as jobs are: what it takes on a GPU is free when it ends
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        try:
            found = list(process.map(scores, configs))
        except BrokenProcessPool as error:
            raise DataError(
                "the process that probed the features was killed (does the system lack memory?)."
            ) from error
    return {unit: mean([of_seed[unit] for of_seed in found]) for unit in found[0]}


def scores(cfg: DictConfig) -> Scores:
    """The probes' validation score of one configuration, by unit."""
    return {unit: result.score for unit, result in probe(cfg).items()}

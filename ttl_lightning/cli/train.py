"""Hydra's entry point: one run, or with `-m` many."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ttl_lightning.config import compose as config
from ttl_lightning.errors import TTLError
from ttl_lightning.runtime.shortage import check_folder
from ttl_lightning.runtime.stopping import heed_sigterm, leave, status_of

if TYPE_CHECKING:
    from ttl_lightning.records.schema import RunResult

SWEEP_FLAGS = ("-m", "--multirun")


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and a status other than 0."""
    from ttl_lightning.jobs.server import die_with_parent

    die_with_parent()
    heed_sigterm()
    # Our files for other launchers stand before the plugins' own of the same names on purpose.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/", UserWarning)
    # Hydra's parser wants its flags before the overrides
    given = sorted(sys.argv[1:], key=lambda argument: argument not in SWEEP_FLAGS)
    sys.argv[1:] = given = config.sourced(given)
    arguments = [argument for argument in given if argument not in SWEEP_FLAGS]
    try:
        if not any(argument.startswith("-") for argument in arguments):
            # before Hydra makes a folder; a sweep checks each of its jobs itself
            one = given == arguments
            _, folder = config.read(arguments if one else config.without_sweeps(arguments))
            if one:
                check_folder(folder)
    except TTLError as error:
        leave(error)
    try:
        _hydra_main()
    except KeyboardInterrupt as stop:
        sys.exit(status_of(stop))


@hydra.main(
    version_base=config.VERSION_BASE, config_path=f"pkg://{config.MODULE}", config_name=config.ROOT
)
def _hydra_main(cfg: DictConfig) -> float | None:
    from ttl_lightning.jobs.alone import run

    settings = HydraConfig.get()
    result = (_job if settings.mode == RunMode.MULTIRUN else run)(cfg, settings)
    return result.metrics.get(cfg.protocol.monitor)


def _job(cfg: DictConfig, settings: HydraConf) -> RunResult:
    """A job that another launcher than ours starts: it too gets a process of its own."""
    from ttl_lightning.jobs.job import Job

    composed = cast(DictConfig, OmegaConf.merge({"hydra": settings}, cfg))
    result = Job.from_hydra(composed, Path(settings.runtime.output_dir)).finish()
    if not result.succeeded:
        raise RuntimeError(f"{settings.runtime.output_dir}: {result.error}")
    return result

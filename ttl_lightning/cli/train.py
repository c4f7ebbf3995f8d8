"""Hydra's entry point: one run, or with `-m` many."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ttl_lightning.config import compose as config
from ttl_lightning.config.ranks import made_of
from ttl_lightning.errors import FAILED, USAGE, NonFiniteLossError, TTLError
from ttl_lightning.runtime.shortage import check_folder
from ttl_lightning.runtime.stopping import heed_sigterm, name_of, status_of

if TYPE_CHECKING:
    from ttl_lightning.records.schema import RunResult

SWEEP_FLAGS = ("-m", "--multirun")


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and a status other than 0."""
    from ttl_lightning.jobs.process import die_with_parent

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
            cfg, folder = config.read(arguments if one else config.without_sweeps(arguments))
            if one:
                check_folder(folder)
                made_of(cfg)  # a mistake is said before the seconds that importing torch takes
    except TTLError as error:
        _exit(error)
    try:
        _hydra_main()
    except KeyboardInterrupt as stop:
        sys.exit(status_of(stop))


@hydra.main(
    version_base=config.VERSION_BASE, config_path=f"pkg://{config.MODULE}", config_name=config.ROOT
)
def _hydra_main(cfg: DictConfig) -> float | None:
    settings = HydraConfig.get()
    result = (_job if settings.mode == RunMode.MULTIRUN else _run)(cfg, settings)
    return result.metrics.get(cfg.protocol.monitor)


def _run(cfg: DictConfig, settings: HydraConf) -> RunResult:
    from ttl_lightning.records.schema import FILE_NAME
    from ttl_lightning.runs.fit import train
    from ttl_lightning.runs.record import clear

    folder = Path(settings.runtime.output_dir)
    try:
        return train(cfg, overrides=settings.overrides.task, run_dir=folder)
    except TTLError as error:
        clear(folder)  # Hydra made it before anything was checked
        _exit(error)
    except KeyboardInterrupt as stop:
        kept = (folder / FILE_NAME).is_file()
        print(  # noqa: T201 - what a command line is for
            f"stopped by {name_of(stop)}: "
            + (f"the same command with hydra.run.dir={folder} goes on from here." if kept else
               "nothing had begun."),
            file=sys.stderr,
        )  # fmt: skip
        clear(folder)
        raise


def _job(cfg: DictConfig, settings: HydraConf) -> RunResult:
    """A job that another launcher than ours starts: it too gets a process of its own."""
    from ttl_lightning.jobs.job import Job

    result = Job.from_hydra(cfg, settings, Path(settings.runtime.output_dir)).finish()
    if not result.succeeded:
        raise RuntimeError(f"{settings.runtime.output_dir}: {result.error}")
    return result


def _exit(error: TTLError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201 - what a command line is for
    sys.exit(FAILED if isinstance(error, NonFiniteLossError) else USAGE)

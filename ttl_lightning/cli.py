"""Hydra's entry point: one run, or with `-m` many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ttl_lightning import config
from ttl_lightning.errors import NonFiniteLossError, TTLError

USAGE, FAILED = 2, 1


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and a status other than 0."""
    arguments = sys.argv[1:]
    try:
        config.accept_backbones(arguments)
        if not any(argument.startswith("-") for argument in arguments):
            config.read(arguments)  # finds mistakes before Hydra makes a folder
    except TTLError as error:
        _exit(error)
    _hydra_main()


@hydra.main(
    version_base=config.VERSION_BASE, config_path=f"pkg://{config.MODULE}", config_name=config.ROOT
)
def _hydra_main(cfg: DictConfig) -> float | None:
    from ttl_lightning.record import clear
    from ttl_lightning.train import train

    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        result = train(cfg, overrides=settings.overrides.task, run_dir=folder)
    except TTLError as error:
        if settings.mode == RunMode.MULTIRUN:  # the other jobs are to run
            raise
        clear(folder)  # Hydra made it before anything was checked
        _exit(error)
    return result.metrics.get(cfg.protocol.monitor)


def _exit(error: TTLError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201 - what a command line is for
    sys.exit(FAILED if isinstance(error, NonFiniteLossError) else USAGE)

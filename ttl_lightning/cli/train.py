"""`ttl-lightning train`, Hydra's entry point: one run, or with `-m` many."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ttl_lightning.config import compose as config
from ttl_lightning.config import manual
from ttl_lightning.config.ranks import made_of
from ttl_lightning.runtime.ending import told
from ttl_lightning.runtime.shortage import check_folder

if TYPE_CHECKING:
    from ttl_lightning.records.schema import RunResult

SWEEP_FLAGS = ("-m", "--multirun")
USE = """usage: ttl-lightning [train] [-m] [KEY=VALUE …]

Finetunes a pretrained network on medical images, whole or cut at a well-chosen layer.

  ttl-lightning strategy=ttl cutoff=block3
  ttl-lightning data=npz data.path=FILE.npz backbone=resnet50 strategy=ftl seed=1
  ttl-lightning protocol=2d --help                 keys with the values that the choices give them

-m runs every combination (cutoff=block1,block2 seed=0,1,2); --cfg job prints the configuration,
--hydra-help the other flags. +trainer.KEY=… and the like give what a library takes besides.

"""


def usage(arguments: Sequence[str]) -> str:
    """The help's text: every choice, and every key with its value, its range and what it does."""
    return USE + manual.usage(manual.EVERYTHING, arguments)


def run(arguments: Sequence[str]) -> None:
    """Train as the overrides say.

    Raises:
        TTLError: before Hydra makes a folder; later mistakes end the process where they are told.
    """
    from ttl_lightning.jobs.server import die_with_parent

    die_with_parent()
    # Our files for other launchers stand before the plugins' own of the same names on purpose.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/", UserWarning)
    # Hydra's parser wants its flags before the overrides
    given = sorted(arguments, key=lambda argument: argument not in SWEEP_FLAGS)
    sys.argv[1:] = given = config.sourced(config.named(given))
    overrides = [argument for argument in given if argument not in SWEEP_FLAGS]
    if not any(argument.startswith("-") for argument in overrides):
        # a sweep checks each of its jobs itself
        one = given == overrides
        cfg, folder = config.read(overrides if one else config.without_sweeps(overrides))
        if one:
            check_folder(folder)
            spec = config.typed(cfg)
            made_of(spec.data.options, spec.seed)  # said before the seconds of importing torch
    _hydra_main()


@hydra.main(
    version_base=config.VERSION_BASE, config_path=f"pkg://{config.MODULE}", config_name=config.ROOT
)
def _hydra_main(cfg: DictConfig) -> float | None:
    from ttl_lightning.jobs import alone

    settings = HydraConfig.get()
    with told():  # Hydra would print where an error was raised
        result = (_job if settings.mode == RunMode.MULTIRUN else alone.run)(cfg, settings)
    return result.metrics.get(cfg.protocol.monitor)


def _job(cfg: DictConfig, settings: HydraConf) -> RunResult:
    """A job that another launcher than ours starts: it too gets a process of its own."""
    from ttl_lightning.jobs.job import Job

    composed = cast(DictConfig, OmegaConf.merge({"hydra": settings}, cfg))
    result = Job.from_hydra(composed, Path(settings.runtime.output_dir)).finish()
    if not result.succeeded:
        raise RuntimeError(f"{settings.runtime.output_dir}: {result.error}")
    return result

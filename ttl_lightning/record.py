"""A run's folder over its life: begun, completed, failed, or removed since the run never began."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

import ttl_lightning
from ttl_lightning import config
from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.fingerprint import left_in
from ttl_lightning.identity import differences, digest
from ttl_lightning.results import FILE_NAME, RunResult

log = logging.getLogger(__name__)

# What a supervised run prints; the process that started it writes this file.
LOG_FILE = "job.log"


def is_main_process() -> bool:
    """Whether this process writes the results: the only one, or rank 0 of several."""
    return getattr(rank_zero_only, "rank", 0) == 0


def described(cfg: DictConfig, overrides: Sequence[str], identity: Mapping[str, Any]) -> RunResult:
    """The result of a run that is about to begin."""
    return RunResult(
        name=str(cfg.name),
        data=cfg.data.name,
        backbone=cfg.backbone.name,
        strategy=cfg.strategy.name,
        cutoff=None,
        cutoff_index=None,
        seed=cfg.seed,
        overrides=list(overrides),
        identity=dict(identity),
        config_sha256=digest(identity),
        versions={
            "ttl_lightning": ttl_lightning.__version__,
            "torch": torch.__version__,
            "pytorch_lightning": version("pytorch_lightning"),
            "python": sys.version.split()[0],
        },
    )


def already_completed(cfg: DictConfig, folder: Path, result: RunResult) -> RunResult | None:
    """The result in the folder, if it is of this very run and whole.

    Raises:
        ConfigError: if the folder holds a run of another configuration.
    """
    # Another process of this very run has the settings to share, also where none is to resume.
    anew = cfg.resume == "never" and is_main_process()
    if anew or not (folder / FILE_NAME).is_file():
        return None
    earlier = RunResult.load(folder)
    auto = cfg.trainer.precision == "auto"
    if left_in(folder, earlier, auto=auto) != result.config_sha256:
        names = differences(earlier.identity, result.identity) if earlier.identity else []
        which = f" ({', '.join(names)})" if names else ""
        raise ConfigError(
            f"{folder} holds a run of another configuration{which}: give another hydra.run.dir, or "
            "resume=never to replace it."
        )
    result.train = earlier.train
    if earlier.status != "completed":
        return None
    log.info("%s is completed already; resume=never runs it again.", folder)
    return earlier


@contextlib.contextmanager
def recorded(result: RunResult, folder: Path) -> Iterator[None]:
    """Keep `result.json` true whatever happens; a run that never began leaves no folder behind."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    earlier_s = float(result.train.get("wall_s") or 0.0)
    try:
        with config.made():
            yield
    except BaseException as error:
        if isinstance(error, TTLError) and result.status == "pending":
            clear(folder)
            raise
        # Lightning turns one into the other.
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        result.status = "interrupted" if stopped else "failed"
        result.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise
    finally:
        result.train["wall_s"] = earlier_s + time.perf_counter() - started
        # A mistake found before training leaves an earlier result as it was.
        if result.status != "pending" and is_main_process():
            result.save(folder)


def clear(folder: Path) -> None:
    """Remove the folder of a run that never began, and those up to here that are empty then."""
    kept = any((folder / name).exists() for name in (FILE_NAME, LOG_FILE))
    if kept or not is_main_process():
        return
    shutil.rmtree(folder, ignore_errors=True)
    here = Path.cwd()
    for parent in folder.absolute().parents:
        if here not in parent.parents:
            return
        with contextlib.suppress(OSError):
            parent.rmdir()

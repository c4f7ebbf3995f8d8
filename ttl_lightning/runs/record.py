"""A run's folder over its life: begun, completed, failed, or removed since the run never began."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import ttl_lightning
from ttl_lightning.config import compose as config
from ttl_lightning.config.identity import differences, digest
from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.fingerprint import left_in
from ttl_lightning.runs.holding import held, is_held, is_main_process
from ttl_lightning.runtime.shortage import shortage
from ttl_lightning.runtime.stopping import interruption

log = logging.getLogger(__name__)


def described(spec: RunSpec, overrides: Sequence[str], identity: Mapping[str, Any]) -> RunResult:
    """The result of a run that is about to begin."""
    return RunResult(
        name=str(spec.name),
        data=str(spec.data.name),
        backbone=spec.backbone.name,
        strategy=spec.strategy.name,
        cutoff=None,
        cutoff_index=None,
        seed=spec.seed,
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


def earlier_in(folder: Path, spec: RunSpec, begun: RunResult) -> RunResult | None:
    """What this very run has recorded in the folder; None if it begins.

    Raises:
        ConfigError: if the folder holds a run of another configuration.
    """
    # Another process of this very run has the settings to share, also where none is to resume.
    anew = spec.resume == "never" and is_main_process()
    if anew or not RunFolder(folder).result.is_file():
        return None
    earlier = RunResult.load(folder)
    auto = spec.trainer.precision == "auto"
    if left_in(folder, earlier, auto=auto) != begun.config_sha256:
        names = differences(earlier.identity, begun.identity) if earlier.identity else []
        which = f" ({', '.join(names)})" if names else ""
        raise ConfigError(
            f"{folder} holds a run of another configuration{which}: give another hydra.run.dir, or "
            "resume=never to replace it."
        )
    return earlier


def recorded(begun: RunResult, stages: Iterable[RunResult], folder: Path) -> RunResult:
    """Keep `result.json` true whatever happens; a run that never began leaves no folder behind.

    Args:
        begun: what is known before the first stage.
        stages: the run: after each of its stages, what is known by then.
        folder: the run's.

    Raises:
        ConfigError: if the folder cannot be made or written, or another process runs in it.
        TTLError: in place of what the machine ran out of.
    """
    result, started = begun, time.perf_counter()
    earlier_s = float(begun.train.get("wall_s") or 0.0)
    try:
        with held(folder):
            try:
                with config.made():
                    for result in stages:
                        if result.status == "running" and is_main_process():
                            result.save(folder)
            except BaseException as error:
                if isinstance(error, TTLError) and result.status == "pending":
                    raise
                stop, short = interruption(error), shortage(error)
                result = _ended(result, stop, short or error)
                if stop is not None and stop is not error:
                    raise stop from None
                if short is not None:
                    raise short from error
                raise
            finally:
                wall_s = earlier_s + time.perf_counter() - started
                result = replace(result, train=result.train | {"wall_s": wall_s})
                # A mistake found before training leaves an earlier result as it was.
                if result.status != "pending" and is_main_process():
                    _save(result, folder)
    except TTLError:
        if result.status == "pending":
            clear(folder)
        raise
    return result


def _ended(result: RunResult, stop: BaseException | None, told: BaseException) -> RunResult:
    """The result of a run that did not come to its end."""
    interrupted = stop is not None or isinstance(told, SystemExit)
    error = f"{type(told).__name__}: {' '.join(str(told).split())}"
    return replace(result, status="interrupted" if interrupted else "failed", error=error)


def _save(result: RunResult, folder: Path) -> None:
    """Save the result; where it cannot be, what went wrong first is the error that counts."""
    try:
        result.save(folder)
    except OSError as error:
        path = RunFolder(folder).result
        log.warning("%s could not be written: %s", path, error)
        if result.succeeded:
            raise ConfigError(f"{path} could not be written: {error}") from error


def clear(folder: Path) -> None:
    """Remove the folder of a run that never began, and those up to here that are empty then.

    It stays if another process has begun there.
    """
    run = RunFolder(folder)
    if run.result.exists() or run.log.exists() or not is_main_process() or is_held(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    here = Path.cwd()
    for parent in folder.absolute().parents:
        if here not in parent.parents:
            return
        with contextlib.suppress(OSError):
            parent.rmdir()

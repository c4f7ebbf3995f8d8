"""Optimizer, schedule, task, callbacks and trainer of a run, made as its configuration says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from pytorch_lightning.callbacks import Callback, StochasticWeightAveraging
from pytorch_lightning.loggers import Logger

from ttl_lightning.config import compose as config
from ttl_lightning.config.schema import Options, RunSpec
from ttl_lightning.errors import ConfigError, TTLError, check_choice
from ttl_lightning.tasks.base import Task

# Optimizers that step all parameters at once on CPU and GPU, and what asks for another way.
FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
OTHERWISE = {"fused", "foreach", "capturable", "differentiable"}

_REFUSED = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Make whatever a setting leads to one line that names its key.

    Raises:
        ConfigError: in place of it; the project's own errors pass.
    """
    try:
        yield
    except TTLError:
        raise
    except Exception as error:  # constructors raise what they like
        inner = error.__cause__
        cause = inner if isinstance(inner, Exception) else error
        if isinstance(cause, TTLError):
            raise cause from error
        text = config.first_line(cause)
        if isinstance(cause, TypeError) and (refused := _REFUSED.search(text)):
            raise ConfigError(
                f"unknown key '{key}.{refused[2]}': {refused[1]} takes no such argument."
            ) from error
        raise ConfigError(f"{key}: {type(cause).__name__}: {text}") from error


def task_class(spec: RunSpec) -> type[Task]:
    """The task that the configuration names; its module is imported, nothing is made.

    Raises:
        ConfigError: if there is none of that name.
    """
    target = spec.task.options["_target_"]
    with naming("task"):
        found = get_class(target)
    if not issubclass(found, Task):
        raise ConfigError(f"task._target_={target} is no task: derive it from Task.")
    return found


def task_options(spec: RunSpec) -> dict[str, Any]:
    """The configuration's options of its task, made.

    Raises:
        UnknownNameError: for one that it does not take.
    """
    with naming("task"):
        make = instantiate(spec.task.options, _convert_="all")
        taken = inspect.signature(make.func).parameters
    # null asks for nothing: what the default task has beside its name may be left so
    given = {
        key: value
        for key, value in make.keywords.items()
        if key != "head" and (value is not None or key in taken)
    }
    if not any(p.kind == inspect.Parameter.VAR_KEYWORD for p in taken.values()):
        for key in given:
            check_choice("key", f"task.{key}", [f"task.{name}" for name in taken])
    return given


def optimizer_of(spec: RunSpec) -> Any:  # noqa: ANN401 - a partial of whatever was named
    """What makes the optimizer from parameter groups, fused where torch and Lightning allow it."""
    make = _partial("protocol.optimizer", spec.protocol.optimizer)
    # in mixed precision Lightning refuses to clip gradients before a fused step, which may unscale
    mixed = not str(spec.trainer.precision).endswith("-true")
    clipped = mixed and spec.trainer.gradient_clip_val is not None
    if make.func in FUSED and not clipped and OTHERWISE.isdisjoint(make.keywords):
        return partial(make, fused=True)
    return make


def scheduler_of(spec: RunSpec) -> Any:  # noqa: ANN401 - likewise
    """What makes the schedule from an optimizer, or None."""
    return _partial("protocol.scheduler", spec.protocol.scheduler)


def _partial(key: str, options: Options | None) -> Any:  # noqa: ANN401 - likewise
    """What options name; true and false would pass as 1 and 0 where it takes numbers.

    Raises:
        ConfigError: naming the argument.
    """
    with naming(key):
        make = instantiate(options, _convert_="all")
    for name, value in make.keywords.items() if make is not None else ():
        taken = inspect.signature(make.func).parameters
        usual = taken[name].default if name in taken else None
        number = isinstance(usual, int | float) and not isinstance(usual, bool)
        if number and isinstance(value, bool):
            raise ConfigError(f"{key}.{name} must be a number, got {str(value).lower()}.")
    return make


def callbacks_of(spec: RunSpec) -> list[Callback]:
    """The callbacks beside a run's own.

    Raises:
        ConfigError: naming the key of one that cannot be made, or is none.
    """
    found = []
    for key, given in spec.callbacks.items():
        if given is None:
            continue
        with naming(f"callbacks.{key}"):
            made = instantiate(given, _convert_="all")
        if not isinstance(made, Callback):
            raise ConfigError(f"callbacks.{key}: {given['_target_']} is no callback of Lightning.")
        if isinstance(made, StochasticWeightAveraging):
            raise ConfigError(
                f"callbacks.{key}: StochasticWeightAveraging averages after the last epoch that is "
                "validated, so nobody would score what it makes: callbacks=ema averages weights "
                "that are validated, kept and tested."
            )
        found.append(made)
    return found


def logger_of(spec: RunSpec, folder: Path) -> Logger | bool:
    """The logger beside a run's own history, which writes into its folder; False for none.

    Raises:
        ConfigError: if it cannot be made.
    """
    settings = dict(spec.logger)
    if settings["_target_"] is None:
        return False
    if "save_dir" in settings and settings["save_dir"] is None:
        settings["save_dir"] = str(folder)
    try:
        made: Logger = instantiate(settings, _convert_="all")
    except (ModuleNotFoundError, InstantiationException) as error:
        raise ConfigError(f"logger {settings['_target_']} cannot be made: {error}") from error
    return made


def trainer_of(spec: RunSpec, **own: Any) -> pl.Trainer:  # noqa: ANN401 - Trainer's arguments
    """Lightning's Trainer of the configuration, with what a run sets itself.

    Raises:
        ConfigError: in Lightning's words.
    """
    of_the_run = ("precision", "channels_last", "batch_size_finder", "threads", "keep_frozen")
    ours = (*of_the_run, "gradient_checkpointing", *own)
    settings = {key: value for key, value in spec.trainer.options.items() if key not in ours}
    with naming("trainer"):
        made: pl.Trainer = instantiate(settings, _partial_=True, _convert_="all")(**own)
    return made

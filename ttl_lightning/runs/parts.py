"""Optimizer, schedule, callbacks and trainer of a run, made from its configuration, and tried."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig
from pytorch_lightning.accelerators import AcceleratorRegistry
from pytorch_lightning.callbacks import Callback, StochasticWeightAveraging
from pytorch_lightning.loggers import Logger

from ttl_lightning.config import compose as config
from ttl_lightning.errors import ConfigError, TTLError, check_choice
from ttl_lightning.runs.callbacks.progress import quiet
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.schedules import check_takes_steps

# Code that may be run where jobs are planned; what others wrote runs in the job's own process.
TRUSTED = ("torch.", "pytorch_lightning.", "ttl_lightning.", "timm.")
STEPS = 8
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


def optimizer_of(cfg: DictConfig) -> Any:  # noqa: ANN401 - a partial of whatever was named
    """What makes the optimizer from parameter groups."""
    with naming("protocol.optimizer"):
        make = instantiate(cfg.protocol.optimizer, _convert_="all")
    return _numbers_as_such("protocol.optimizer", make)


def task_class(cfg: DictConfig) -> type[Task]:
    """The task that the configuration names; its module is imported, nothing is made.

    Raises:
        ConfigError: if there is none of that name.
    """
    with naming("task"):
        found = get_class(cfg.task._target_)
    if not issubclass(found, Task):
        raise ConfigError(f"task._target_={cfg.task._target_} is no task: derive it from Task.")
    return found


def task_options(cfg: DictConfig) -> dict[str, Any]:
    """The configuration's options of its task, made.

    Raises:
        UnknownNameError: for one that it does not take.
    """
    with naming("task"):
        make = instantiate(cfg.task, _convert_="all")
        taken = inspect.signature(make.func).parameters
    # null asks for nothing: what the default task has beside its name may be left so
    given = {
        key: value for key, value in make.keywords.items() if value is not None or key in taken
    }
    if not any(p.kind == inspect.Parameter.VAR_KEYWORD for p in taken.values()):
        for key in given:
            check_choice("key", f"task.{key}", [f"task.{name}" for name in taken])
    return given


def scheduler_of(cfg: DictConfig) -> Any:  # noqa: ANN401 - likewise
    """What makes the schedule from an optimizer, or None."""
    with naming("protocol.scheduler"):
        make = instantiate(cfg.protocol.scheduler, _convert_="all")
    return _numbers_as_such("protocol.scheduler", make)


def _numbers_as_such(key: str, make: Any) -> Any:  # noqa: ANN401 - a partial, or None
    """The partial; true and false would pass as 1 and 0 where it takes numbers.

    Raises:
        ConfigError: naming the argument.
    """
    for name, value in make.keywords.items() if make is not None else ():
        taken = inspect.signature(make.func).parameters
        usual = taken[name].default if name in taken else None
        number = isinstance(usual, int | float) and not isinstance(usual, bool)
        if number and isinstance(value, bool):
            raise ConfigError(f"{key}.{name} must be a number, got {str(value).lower()}.")
    return make


def callbacks_of(cfg: DictConfig) -> list[Callback]:
    """The callbacks beside a run's own.

    Raises:
        ConfigError: naming the key of one that cannot be made, or is none.
    """
    found = []
    for key, given in (cfg.get("callbacks") or {}).items():
        if given is None:
            continue
        with naming(f"callbacks.{key}"):
            made = instantiate(given, _convert_="all")
        if not isinstance(made, Callback):
            raise ConfigError(f"callbacks.{key}: {given._target_} is no callback of Lightning.")
        if isinstance(made, StochasticWeightAveraging):
            raise ConfigError(
                f"callbacks.{key}: StochasticWeightAveraging averages after the last epoch that is "
                "validated, so nobody would score what it makes: callbacks=ema averages weights "
                "that are validated, kept and tested."
            )
        found.append(made)
    return found


def logger_of(cfg: DictConfig, folder: Path) -> Logger | bool:
    """The logger beside a run's own history, which writes into its folder; False for none.

    Raises:
        ConfigError: if it cannot be made.
    """
    if cfg.logger._target_ is None:
        return False
    settings = dict(cfg.logger)
    if "save_dir" in settings and settings["save_dir"] is None:
        settings["save_dir"] = str(folder)
    try:
        made: Logger = instantiate(settings, _convert_="all")
    except (ModuleNotFoundError, InstantiationException) as error:
        raise ConfigError(f"logger {cfg.logger._target_} cannot be made: {error}") from error
    return made


def trainer_of(cfg: DictConfig, **own: Any) -> pl.Trainer:  # noqa: ANN401 - Trainer's arguments
    """Lightning's Trainer of the configuration, with what a run sets itself.

    Raises:
        ConfigError: in Lightning's words.
    """
    ours = ("precision", "channels_last", "batch_size_finder", *own)
    settings = {key: value for key, value in cfg.trainer.items() if key not in ours}
    with naming("trainer"):
        made: pl.Trainer = instantiate(settings, _partial_=True, _convert_="all")(**own)
    return made


def try_parts(cfg: DictConfig, groups: Sequence[Mapping[str, Any]]) -> None:
    """Make the parts that need no data, and let optimizer and schedule take a few steps.

    What is not trusted is left to the job's own process.

    Args:
        cfg: with values that are in range.
        groups: the model's parameter groups, of which the numbers of dimensions are looked at.

    Raises:
        ConfigError: naming the key that leads to an error.
    """
    if _trusted(cfg.protocol.optimizer):
        optimizer = _tried_optimizer(cfg, groups)
        if _trusted(cfg.protocol.scheduler):
            _try_scheduler(cfg, optimizer)
    if all(_trusted(given) for given in (cfg.get("callbacks") or {}).values()):
        callbacks_of(cfg)
    if _trusted(cfg.task):
        task_options(cfg)
    known = ("auto", "gpu", *AcceleratorRegistry.available_accelerators())
    check_choice("trainer.accelerator", cfg.trainer.accelerator, known)
    if _trusted(cfg.trainer):
        # where jobs are planned there may be no such devices as where they run
        here = {"accelerator": "cpu", "devices": 1, "strategy": "auto"}
        plain = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        with quiet():
            trainer_of(cfg, **here, **plain, enable_model_summary=False)


def _tried_optimizer(cfg: DictConfig, groups: Sequence[Mapping[str, Any]]) -> torch.optim.Optimizer:
    make = optimizer_of(cfg)
    small = [
        {**group, "params": [torch.zeros((2,) * p.dim()).requires_grad_() for p in group["params"]]}
        for group in groups
    ]
    with naming("protocol.optimizer"):
        optimizer = make(small)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ConfigError(
                f"protocol.optimizer: {cfg.protocol.optimizer._target_} is no optimizer of torch."
            )
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step(lambda: 0.0)
    return optimizer


def _try_scheduler(cfg: DictConfig, optimizer: torch.optim.Optimizer) -> None:
    make = scheduler_of(cfg)
    if make is None:
        return
    by_step = cfg.protocol.scheduler_interval == "step"
    if by_step:
        check_takes_steps(make)
    with naming("protocol.scheduler"):
        schedule = make(optimizer, total_steps=STEPS) if by_step else make(optimizer)
        plateau = isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        if not plateau and not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
            raise ConfigError(
                f"protocol.scheduler: {cfg.protocol.scheduler._target_} is no schedule of torch."
            )
        for _ in range(STEPS - 1):
            optimizer.step(lambda: 0.0)
            schedule.step(0.0) if plateau else schedule.step()


def _trusted(options: Mapping[str, Any] | None) -> bool:
    return options is None or str(options.get("_target_")).startswith(TRUSTED)

"""Learning-rate schedules, and how they are fitted to a run's length and validation."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable

from pytorch_lightning import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from ttl_lightning.errors import ConfigError, check_number


def warmup_cosine(step: int, total_steps: int, warmup_steps: int) -> float:
    """Factor of the learning rate: up in a line to 1, then half a cosine down to 0.

    It is above 0 at the first step and reaches 0 only once all steps are done.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def cosine_with_warmup(
    optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.1
) -> LambdaLR:
    """Scale every parameter group's own rate by `warmup_cosine`, once a step.

    Args:
        optimizer: its groups keep the ratio of their rates.
        total_steps: optimizer steps of the whole run.
        warmup_fraction: the share of them spent rising.

    Raises:
        ConfigError: a fraction outside [0, 1].
    """
    check_number("protocol.scheduler.warmup_fraction", warmup_fraction, 0, 1)
    warmup_steps = round(total_steps * warmup_fraction)
    return LambdaLR(optimizer, lambda step: warmup_cosine(step, total_steps, warmup_steps))


def create_scheduler(
    factory: Callable[..., LRScheduler | ReduceLROnPlateau],
    optimizer: Optimizer,
    trainer: Trainer,
    interval: str,
) -> LRScheduler | ReduceLROnPlateau:
    """Build a schedule that this trainer can drive.

    Args:
        factory: takes the optimizer; with interval "step" also `total_steps`.
        optimizer: whose rates are scheduled.
        trainer: attached to its data.
        interval: "epoch" or "step".

    Raises:
        ConfigError: a schedule by steps that takes no `total_steps`, or of a run without an end; a
            plateau looked for by steps, or in a run that does not validate once in so many epochs.
    """
    if interval == "step":
        check_takes_steps(factory)
        total_steps = trainer.estimated_stepping_batches
        if not 0 < total_steps < math.inf:
            raise ConfigError(
                "protocol.scheduler_interval=step needs a run with an end: set trainer.max_epochs "
                f"or trainer.max_steps, got {total_steps} steps."
            )
        return factory(optimizer, total_steps=int(total_steps))
    scheduler = factory(optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        _check_validated(trainer)
    return scheduler


def check_takes_steps(factory: Callable[..., object]) -> None:
    """Demand a schedule that is told how many steps there are.

    Raises:
        ConfigError: naming it.
    """
    # of the function itself: other arguments may be wrong, which is said elsewhere
    inner = factory.func if isinstance(factory, functools.partial) else factory
    if "total_steps" not in inspect.signature(inner).parameters:
        raise ConfigError(
            "protocol.scheduler must take total_steps when protocol.scheduler_interval=step; "
            "ttl_lightning.tasks.schedules.cosine_with_warmup and torch's OneCycleLR do, "
            f"{getattr(inner, '__name__', repr(inner))} does not."
        )


def _check_validated(trainer: Trainer) -> None:
    if not trainer.enable_validation:
        raise ConfigError(
            "protocol.scheduler=ReduceLROnPlateau needs validation: give the data a validation "
            f"split and set trainer.limit_val_batches above 0, got {trainer.limit_val_batches!r}."
        )
    if trainer.check_val_every_n_epoch is None:
        raise ConfigError(
            "protocol.scheduler=ReduceLROnPlateau needs trainer.check_val_every_n_epoch to be a "
            "number of epochs, got None."
        )

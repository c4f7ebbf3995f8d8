"""What can be wrong with a run's configuration, found before any data are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning.accelerators import AcceleratorRegistry
from torch import nn

from ttl_lightning.config.schema import RunSpec
from ttl_lightning.data.sources.registry import AUGMENT, SOURCES
from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.models.backbones.pretrained import find
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.runs.build import create_data, device, network
from ttl_lightning.runs.callbacks.progress import quiet
from ttl_lightning.runs.parts import (
    callbacks_of,
    naming,
    optimizer_of,
    scheduler_of,
    task_class,
    task_options,
    trainer_of,
)
from ttl_lightning.runtime.bfloat16 import wrong_in_bfloat16
from ttl_lightning.tasks.schedules import check_takes_steps

# Code that may be run where jobs are planned; what others wrote runs in the job's own process.
TRUSTED = ("torch.", "pytorch_lightning.", "ttl_lightning.", "timm.")
STEPS = 8


def check(spec: RunSpec) -> None:
    """Find what is wrong with a configuration before any data are read.

    Raises:
        TTLError: if the network, its weights or the data's place are not to be had, or what is
            asked for does not go together.
    """
    protocol, backbone = spec.protocol, spec.backbone
    task_class(spec).check_protocol(spec.values["protocol"])
    # What others wrote may do anything; it runs in the job's own process, not in the sweep's.
    own = spec.data.options["_target_"] in SOURCES and protocol.augment["_target_"] == AUGMENT
    data = create_data(spec.recipe) if own else None
    with torch.device("meta"):
        model = network(spec.recipe, num_classes=2, weights=None)
    _check_precision(spec, model)
    if backbone.weights is not None:
        find(backbone.name, backbone.weights)
    try_parts(spec, model.param_groups(protocol.learning_rate, protocol.pretrained_lr_factor))
    if data is not None:
        _check_batch(model, data.batch_size)


def _check_batch(model: TransferModel, batch_size: int) -> None:
    """Demand batches that BatchNorm can train on.

    Raises:
        ConfigError: naming the key.
    """
    norms = (m for m in model.train().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    if batch_size == 1 and any(norm.training for norm in norms):
        raise ConfigError(
            "data.batch_size=1 does not do for a network that trains BatchNorm, whose statistics "
            "are those of a batch: give 2 or more, or strategy=ffe."
        )


def _check_precision(spec: RunSpec, model: TransferModel) -> None:
    """Demand gradients that are right; with `auto`, the choice sees to it.

    Raises:
        ConfigError: naming the convolution.
    """
    precision = str(spec.trainer.precision)
    if not precision.startswith("bf16") or device(spec).type != "cpu":
        return
    if at := wrong_in_bfloat16(model, model.backbone.input_shape(spec.data.spatial)):
        raise ConfigError(
            f"trainer.precision={precision} gives wrong gradients for {at} on a CPU: use 32-true "
            "or auto."
        )


def try_parts(spec: RunSpec, groups: Sequence[Mapping[str, Any]]) -> None:
    """Make the parts that need no data, and let optimizer and schedule take a few steps.

    What is not trusted is left to the job's own process.

    Args:
        spec: the run's.
        groups: the model's parameter groups, of which the numbers of dimensions are looked at.

    Raises:
        ConfigError: naming the key that leads to an error.
    """
    if _trusted(spec.protocol.optimizer):
        optimizer = _tried_optimizer(spec, groups)
        if _trusted(spec.protocol.scheduler):
            _try_scheduler(spec, optimizer)
    if all(_trusted(given) for given in spec.callbacks.values()):
        callbacks_of(spec)
    if _trusted(spec.task.options):
        task_options(spec)
    known = ("auto", "gpu", *AcceleratorRegistry.available_accelerators())
    check_choice("trainer.accelerator", spec.trainer.accelerator, known)
    if _trusted(spec.trainer.options):
        # where jobs are planned there may be no such devices as where they run
        here = {"accelerator": "cpu", "devices": 1, "strategy": "auto"}
        plain = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        with quiet():
            trainer_of(spec, **here, **plain, enable_model_summary=False)


def _tried_optimizer(spec: RunSpec, groups: Sequence[Mapping[str, Any]]) -> torch.optim.Optimizer:
    make = optimizer_of(spec)
    small = [
        {**group, "params": [torch.zeros((2,) * p.dim()).requires_grad_() for p in group["params"]]}
        for group in groups
    ]
    with naming("protocol.optimizer"):
        optimizer = make(small)
        if not isinstance(optimizer, torch.optim.Optimizer):
            target = spec.protocol.optimizer["_target_"]
            raise ConfigError(f"protocol.optimizer: {target} is no optimizer of torch.")
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step(lambda: 0.0)
    return optimizer


def _try_scheduler(spec: RunSpec, optimizer: torch.optim.Optimizer) -> None:
    make, options = scheduler_of(spec), spec.protocol.scheduler
    if make is None or options is None:
        return
    by_step = spec.protocol.scheduler_interval == "step"
    if by_step:
        check_takes_steps(make)
    with naming("protocol.scheduler"):
        schedule = make(optimizer, total_steps=STEPS) if by_step else make(optimizer)
        plateau = isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        if not plateau and not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
            raise ConfigError(f"protocol.scheduler: {options['_target_']} is no schedule of torch.")
        for _ in range(STEPS - 1):
            optimizer.step(lambda: 0.0)
            schedule.step(0.0) if plateau else schedule.step()


def _trusted(options: Mapping[str, Any] | None) -> bool:
    return options is None or str(options.get("_target_")).startswith(TRUSTED)

"""Gradient checkpointing: what a unit computes on the way to its map is not kept, but repeated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ttl_lightning.models.backbones.flows import State, States, at
from ttl_lightning.models.backbones.units import Unit


def recomputing(states: States) -> States:
    """The same for a pass in training, which keeps each unit's input alone.

    Running statistics move once, as they do without it.

    Source: Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.

    Args:
        states: gives what is passed on after each of a unit's pieces.
    """

    def again(net: nn.Module, unit: Unit, state: State) -> list[State]:
        found = (at(net, path) for path in unit.paths)
        modules = [module for module in found if isinstance(module, nn.Module)]
        if not any(module.training for module in modules):
            return states(net, unit, state)
        norms = [m for module in modules for m in module.modules() if isinstance(m, _BatchNorm)]
        passed: list[State] = checkpoint(
            states, net, unit, state, use_reentrant=False,
            context_fn=lambda: (nullcontext(), _still(norms)),
        )  # fmt: skip
        return passed

    return again


@contextlib.contextmanager
def _still(norms: list[_BatchNorm]) -> Iterator[None]:
    """Batch norms that compute as in training, and keep their running statistics."""
    before: list[tuple[Any, Tensor | None]] = []
    for norm in norms:
        count = norm.num_batches_tracked
        before.append((norm.momentum, None if count is None else count.clone()))
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)

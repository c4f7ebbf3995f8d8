"""Parameters and multiply-accumulates of a model.

One MAC is one multiply-accumulate. The count is fvcore's for convolutions and linear layers, two
for each element that a norm scales and shifts, and one for each that a ReLU (leaky ones too) or a
pooling window reads, as the paper's counter has it; `macs_by_op` and `macs_by_unit` take it apart.
Operators that are not counted (SiLU, additions) are listed, not hidden.

Source: fvcore.nn.FlopCountAnalysis; the paper's Tables 1 and 3.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ttl_lightning.models.strategies.base import TransferModel

with warnings.catch_warnings():
    # It scripts a function when imported, which torch has deprecated.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import get_shape

ONE_PER_INPUT_ELEMENT = (
    *("relu", "relu_", "leaky_relu", "leaky_relu_"),
    *(f"{kind}_pool{dims}d" for kind in ("max", "avg", "adaptive_avg") for dims in (2, 3)),
)
# and where each has its weight among its arguments
NORMS = {"batch_norm": 1, "instance_norm": 1, "group_norm": 2, "layer_norm": 2}


@dataclass(frozen=True, slots=True)
class Complexity:
    """A model's cost for one input of shape `input_size` = `(C, *spatial)`.

    Attributes:
        macs_by_op: those of each counted operator.
        macs_by_unit: those of each of the backbone's units, in order, and of the head; empty for a
            model that is no `TransferModel`.
        unsupported_ops: how often each uncounted operator occurs.
    """

    params: int
    trainable_params: int
    macs: int
    input_size: tuple[int, ...]
    macs_by_op: dict[str, int]
    macs_by_unit: dict[str, int]
    unsupported_ops: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `result.json`."""
        return asdict(self)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """All parameters, and those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def complexity(model: nn.Module, input_size: Sequence[int]) -> Complexity:
    """A model's parameters, and its MACs for a batch of one.

    Args:
        model: the model; its training mode is restored.
        input_size: `(C, *spatial)`.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    x = torch.zeros(1, *input_size, device=device)
    analysis = FlopCountAnalysis(model, x).unsupported_ops_warnings(False)  # noqa: FBT003 - fvcore's setter
    analysis.uncalled_modules_warnings(False).tracer_warnings("none")  # noqa: FBT003
    for op in ONE_PER_INPUT_ELEMENT:
        analysis.set_op_handle(f"aten::{op}", _one_per_input_element)
    for op, weight_at in NORMS.items():
        analysis.set_op_handle(f"aten::{op}", partial(_scale_and_shift, weight_at))
    analysis.set_op_handle("aten::mean", _pooling_of_the_head)
    try:
        with torch.no_grad():  # with gradients the trace holds every map of a volume
            by_op = {str(op): int(n) for op, n in analysis.by_operator().items()}
        unsupported = {str(op): int(n) for op, n in analysis.unsupported_ops().items()}
        by_unit = _by_unit(model, analysis) if isinstance(model, TransferModel) else {}
    finally:
        model.train(was_training)
    params, trainable = count_parameters(model)
    total, size = sum(by_op.values()), tuple(input_size)
    return Complexity(params, trainable, total, size, by_op, by_unit, unsupported)


def _by_unit(model: TransferModel, analysis: FlopCountAnalysis) -> dict[str, int]:
    modules = dict(model.backbone.net.named_modules())
    units = {
        unit.name: sum(
            int(analysis.total(f"backbone.net.{path}")) for path in unit.paths if path in modules
        )
        for unit in model.backbone.units
    }
    return {**units, "head": int(analysis.total("head"))}


def _scale_and_shift(weight_at: int, inputs: list[Any], _: list[Any]) -> int:
    """A norm in evaluation: one to normalise each element; its own weights make that two."""
    per_element = 1 if get_shape(inputs[weight_at]) is None else 2
    return int(per_element * math.prod(inputs[0].type().sizes()))


def _one_per_input_element(inputs: list[Any], _: list[Any]) -> int:
    return math.prod(inputs[0].type().sizes())


def _pooling_of_the_head(inputs: list[Any], _: list[Any]) -> int:
    """A head averages `(N, C, positions)`; the paper leaves out squeeze-excitation's means."""
    sizes = inputs[0].type().sizes()
    return math.prod(sizes) if len(sizes) == 3 else 0

"""Parameters, multiply-accumulates and latency of a model.

One MAC is one multiply-accumulate. The count is fvcore's (convolutions, linear layers, and two for
each element that is normalised) and one for each element that a ReLU or a pooling window reads, as
the paper's counter has it; `macs_by_op` takes it apart. Operators that are not counted (SiLU,
additions) are listed, not hidden.

Source: fvcore.nn.FlopCountAnalysis; the paper's Tables 1 and 3.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

with warnings.catch_warnings():
    # It scripts a function when imported, which torch has deprecated.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
    from fvcore.nn import FlopCountAnalysis

ALSO_COUNTED = ("relu", "relu_", "max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d")
WARM_UP_RUNS = 3
LATENCY_RUNS = 30
LATENCY_BUDGET_S = 2.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one forward pass, measured."""

    median: float
    p95: float
    batch_size: int
    threads: int


@dataclass(frozen=True, slots=True)
class Complexity:
    """A model's cost for one input of shape `input_size` = `(C, *spatial)`."""

    params: int
    trainable_params: int
    macs: int
    input_size: tuple[int, ...]
    macs_by_op: dict[str, int]
    unsupported_ops: dict[str, int]
    latency_ms: dict[str, Latency]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `result.json`."""
        return asdict(self)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """All parameters, and those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def count_macs(
    model: nn.Module, input_size: Sequence[int]
) -> tuple[dict[str, int], dict[str, int]]:
    """MACs by operator for a batch of one, and how often each uncounted operator occurs.

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
    for op in ALSO_COUNTED:
        analysis.set_op_handle(f"aten::{op}", _one_per_input_element)
    analysis.set_op_handle("aten::mean", _pooling_of_the_head)
    try:
        by_op = {str(op): int(n) for op, n in analysis.by_operator().items()}
        unsupported = {str(op): int(n) for op, n in analysis.unsupported_ops().items()}
    finally:
        model.train(was_training)
    return by_op, unsupported


def _one_per_input_element(inputs: list[Any], _: list[Any]) -> int:
    return math.prod(inputs[0].type().sizes())


def _pooling_of_the_head(inputs: list[Any], _: list[Any]) -> int:
    """A head averages `(N, C, positions)`; the paper leaves out squeeze-excitation's means."""
    sizes = inputs[0].type().sizes()
    return math.prod(sizes) if len(sizes) == 3 else 0


def measure_latency(model: nn.Module, input_size: Sequence[int], batch_size: int = 1) -> Latency:
    """Time forward passes of a batch on the model's device, in milliseconds.

    Stops after `LATENCY_RUNS` passes or `LATENCY_BUDGET_S` seconds, whichever comes first.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    x = torch.rand(batch_size, *input_size, device=device)
    times_ms: list[float] = []
    begin = time.perf_counter()
    with torch.inference_mode():
        for run in range(WARM_UP_RUNS + LATENCY_RUNS):
            start = time.perf_counter()
            model(x)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if run >= WARM_UP_RUNS:
                times_ms.append(1e3 * (time.perf_counter() - start))
            if times_ms and time.perf_counter() - begin > LATENCY_BUDGET_S:
                break
    model.train(was_training)
    p95 = sorted(times_ms)[min(len(times_ms) - 1, round(0.95 * (len(times_ms) - 1)))]
    return Latency(statistics.median(times_ms), p95, batch_size, torch.get_num_threads())


def complexity(model: nn.Module, input_size: Sequence[int], *, latency: bool = True) -> Complexity:
    """A model's parameters, MACs and, if asked for, latency on its device."""
    params, trainable = count_parameters(model)
    by_op, unsupported = count_macs(model, input_size)
    device = next(model.parameters()).device.type
    times = {device: measure_latency(model, input_size)} if latency else {}
    return Complexity(
        params, trainable, sum(by_op.values()), tuple(input_size), by_op, unsupported, times
    )

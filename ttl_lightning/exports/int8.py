"""ONNX files of eight-bit numbers, and what these cost in every metric."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.exports.contract import Contract
from ttl_lightning.exports.tracing import silent
from ttl_lightning.metrics.scores import Scores
from ttl_lightning.runs.inference import rows_of
from ttl_lightning.tasks.base import Task

Array = NDArray[np.float32]
# what is computed in eight bits; the reading of images and the probabilities stay as they are
QUANTISED = ("Conv", "Gemm")


def quantise(file: Path, to: Path, inputs: Iterable[Array]) -> None:
    """Quantise an ONNX file: static, QDQ, weights per channel.

    Args:
        file: of float32, with one input.
        to: what is written.
        inputs: batches (N, C, *spatial) on which the ranges of the maps are measured.

    Raises:
        ConfigError: if ONNX Runtime cannot.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = to.with_name(f"{to.stem}.ready.onnx")
    try:
        with silent():
            quant_pre_process(file, ready, skip_symbolic_shape=True)
            known = {node.op_type for node in onnx.load(ready).graph.node}
            quantize_static(
                ready,
                to,
                _reader(inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=[op for op in QUANTISED if op in known],
            )
    except Exception as error:  # whatever ONNX Runtime raises
        raise ConfigError(
            f"quantize=int8: ONNX Runtime cannot quantise this network: {type(error).__name__} "
            f"{error}"
        ) from error
    finally:
        ready.unlink(missing_ok=True)
        logging.captureWarnings(capture=False)


def _reader(inputs: Iterable[Array]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[Array] = iter(inputs)

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    return Reader()


class Session(nn.Module):
    """An ONNX file as a network of logits that mean what it says.

    Args:
        file: takes "image".
        contract: says what was made of the network's own outputs.
    """

    def __init__(self, file: Path, contract: Contract) -> None:
        super().__init__()
        import onnxruntime

        self.session = onnxruntime.InferenceSession(file)
        self.contract = contract

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, *spatial) to logits."""
        (found,) = self.session.run(None, {"image": images.contiguous().numpy()})
        shown = torch.from_numpy(found).double()
        if self.contract.activation == "linear":
            given = self.contract
            return (shown - shown.new_tensor(given.center)) / shown.new_tensor(given.spread)
        if self.contract.activation == "softmax":
            return shown.clamp(min=torch.finfo(torch.float32).tiny).log()
        return shown.logit(eps=1e-12)


def scored(task: Task, network: nn.Module, batches: Iterable[Any]) -> Scores:
    """The metrics of a split when another network predicts in the place of the task's own.

    Args:
        task: of the run; it keeps its model.
        network: (N, C, *spatial) to logits.
        batches: of the split, whose images are what the network takes.
    """
    own, task.model = task.model, network
    try:
        return task.score(task.table(rows_of(task, batches)))
    finally:
        task.model = own


def changes(before: Scores, after: Scores) -> dict[str, Mapping[str, float | None]]:
    """Each metric before and after, and the difference; None where one is undefined."""
    found: dict[str, Mapping[str, float | None]] = {}
    for name, old in before.values.items():
        new = after.values.get(name)
        difference = None if old is None or new is None else new - old
        found[name] = {"before": old, "after": new, "difference": difference}
    return found

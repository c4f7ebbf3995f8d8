"""A run's network beside the whole one, timed where it is deployed: by turns, in several engines.

Weights say nothing of the time: the networks are built with random ones, and the ranges of int8 are
measured on noise.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttl_lightning.errors import ConfigError
from ttl_lightning.exports import int8
from ttl_lightning.exports.options import LatencyOptions, numbers
from ttl_lightning.exports.tracing import as_onnx
from ttl_lightning.models.cost import complexity
from ttl_lightning.models.create import create_model
from ttl_lightning.models.latency import Latency, summary, take_turns, timed, why_not
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.holding import completed
from ttl_lightning.runtime.threads import used

CALIBRATION = 4
Pass = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Setting:
    """One comparison: `int8` is of `engine` "onnx"."""

    engine: str
    batch: int
    threads: int

    def __str__(self) -> str:
        return f"engine={self.engine} batch={self.batch} threads={self.threads}"


@dataclass(frozen=True, slots=True)
class Compared:
    """Times of one setting, of a forward pass in milliseconds.

    Attributes:
        cut: the run's network.
        whole: the untruncated one; None where the strategy keeps the network whole.
    """

    setting: Setting
    cut: Latency
    whole: Latency | None

    @property
    def ratio(self) -> float | None:
        """Of the fastest passes, which is what repeats on a shared machine."""
        return None if self.whole is None else self.cut.min / self.whole.min

    @property
    def ratio_of_medians(self) -> float | None:
        """Of the medians."""
        return None if self.whole is None else self.cut.median / self.whole.median


@dataclass(frozen=True, slots=True)
class Networks:
    """What is timed.

    Attributes:
        models: the run's, and the untruncated one where the run's is cut.
        size: `(C, *spatial)` of one input.
        macs: multiply-adds of each.
    """

    models: tuple[TransferModel, ...]
    size: tuple[int, ...]
    macs: tuple[int, ...]

    @property
    def ratio(self) -> float | None:
        """Of multiply-adds, cut to whole."""
        return self.macs[0] / self.macs[1] if len(self.macs) > 1 else None


def networks(options: LatencyOptions) -> Networks:
    """The run's network and the untruncated one, as the options ask for them.

    Raises:
        DataError: if there is no completed run.
        ConfigError: if inputs of that size are none of the network's.
    """
    result = completed(Path(options.run))
    described = result.model
    spatial = list(described["image_size"])
    if asked := numbers("image_size", options.image_size):
        spatial = _sized(asked, len(spatial))
    common: dict[str, Any] = {
        "name": result.backbone,
        "num_classes": described.get("outputs") or len(described["class_names"]),
        "weights": None,
        "in_channels": described["in_channels"],
        "image_size": spatial,
        "head": described.get("head", "linear"),
    }
    models = [_own(result, common)]
    if not models[0].strategy.keeps_rest:
        models.append(create_model(strategy="ftl", **common).eval())
    size = models[0].backbone.input_shape(spatial)
    macs = tuple(complexity(model, size).macs for model in models)
    return Networks(tuple(models), tuple(size), macs)


def _own(result: RunResult, common: dict[str, Any]) -> TransferModel:
    pooling = result.model["pooling"]
    model = create_model(strategy=result.strategy, cutoff=result.cutoff, pooling=pooling, **common)
    return model.eval()


def _sized(asked: tuple[int, ...], dimensions: int) -> list[int]:
    if len(asked) == 1 and dimensions == 2:
        return list(asked * dimensions)
    if len(asked) != dimensions:
        raise ConfigError(f"image_size must be {dimensions} numbers by commas for this network.")
    return list(asked)


def compare(options: LatencyOptions, these: Networks) -> Iterator[Compared | tuple[Setting, str]]:
    """Time both networks by turns in each setting.

    Yields:
        The times, or the setting and why there are none: the machine is too noisy, or too slow.
    """
    engines = list(options.engines)
    if options.quantize:
        engines.insert(engines.index("onnx") + 1, options.quantize)
    settings = [
        Setting(engine, batch, threads)
        for threads, batch, engine in itertools.product(
            numbers("threads", options.threads), numbers("batch", options.batch), engines
        )
    ]
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        files = {
            engine: _files(engine, these, Path(place)) for engine in engines if engine != "torch"
        }
        for setting in settings:
            x = torch.rand(setting.batch, *these.size)
            with used(setting.threads):
                if setting.engine == "torch":
                    passes = [_in_torch(model, x) for model in these.models]
                else:
                    begun = _in_openvino if setting.engine == "openvino" else _in_onnx
                    passes = [begun(file, x, setting) for file in files[setting.engine]]
                yield _compared(setting, passes)


def _compared(setting: Setting, passes: Sequence[Pass]) -> Compared | tuple[Setting, str]:
    # OpenVINO computes in threads of its own, one or several, whose time this one's clock lacks
    alone = setting.threads == 1 and setting.engine != "openvino"
    turns = take_turns([timed(one, alone=alone) for one in passes])
    if problem := why_not(turns):
        return setting, problem
    found = [summary(times, setting.batch) for times in turns]
    return Compared(setting, found[0], found[1] if len(found) > 1 else None)


def _in_torch(model: TransferModel, x: Tensor) -> Pass:
    return lambda: model(x)


def _in_onnx(file: Path, x: Tensor, setting: Setting) -> Pass:
    import onnxruntime

    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads, how.inter_op_num_threads = setting.threads, 1
    # one session's threads would go on spinning in the other's turn
    how.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, how)
    given = {"image": x.numpy()}
    return lambda: session.run(None, given)


def _in_openvino(file: Path, x: Tensor, setting: Setting) -> Pass:
    import openvino

    how = {
        "INFERENCE_NUM_THREADS": setting.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # as the others compute
    }
    core = openvino.Core()
    network = core.read_model(file)
    network.reshape(list(x.shape))
    request = core.compile_model(network, "CPU", how).create_infer_request()
    given = {"image": x.numpy()}
    return lambda: request.infer(given, share_inputs=True)


def _files(engine: str, these: Networks, place: Path) -> list[Path]:
    """An ONNX file of each network."""
    files = []
    for number, model in enumerate(these.models):
        file = place / f"{number}.onnx"
        if not file.exists():
            as_onnx(model, these.size, file, "logits")
        if engine == "int8":
            noise = (torch.rand(1, *these.size).numpy() for _ in range(CALIBRATION))
            small = place / f"{number}.int8.onnx"
            int8.quantise(file, small, noise)
            file = small
        files.append(file)
    return files

"""What a run's model costs beside the untruncated network, on the CPU and where it was trained."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import ConfigError
from ttl_lightning.models.cost import complexity
from ttl_lightning.models.create import create_model
from ttl_lightning.runs.build import Parts
from ttl_lightning.runs.latency import Timer, Times


class Cost(NamedTuple):
    """A result's `complexity`, and why some of it is not known."""

    complexity: dict[str, Any]
    notes: dict[str, str]


def measure(spec: RunSpec, parts: Parts, times: Timer | None) -> Cost:
    """Parameters, MACs and, where there is a timer, latency of both networks."""
    model = parts.model
    model.to("cpu").to(memory_format=torch.contiguous_format)
    channels, *spatial = size = model.backbone.input_shape(spec.data.spatial)
    common: dict[str, Any] = {
        "name": spec.backbone.name,
        "weights": None,
        "num_classes": parts.task.num_outputs(parts.data),
        "in_channels": channels,
        "image_size": spatial,
        "head": spec.task.head,
    }
    strategy, untruncated = spec.strategy, common | {"strategy": "ftl"}
    own = {"strategy": strategy.name, "cutoff": spec.cutoff, "pooling": strategy.pooling}
    timed, theirs, why = [common | own], None, "this strategy keeps the network whole"
    if not model.strategy.keeps_rest:
        try:
            theirs = complexity(create_model(**untruncated), size).to_dict()
            timed.append(untruncated)
        except ConfigError as error:  # images that are large enough for the cut network alone
            why = str(error)
    devices = list(dict.fromkeys(("cpu", parts.device.type)))
    found = (
        times(timed, size, devices)
        if times
        else dict.fromkeys(devices, "it was not asked for (latency=false)")
    )
    ours = complexity(model, size).to_dict()
    cost = _with_latency(ours, theirs, found, whole=model.strategy.keeps_rest)
    return cost if theirs else Cost(cost.complexity, {"complexity/untruncated": why, **cost.notes})


def _with_latency(
    ours: dict[str, Any], theirs: dict[str, Any] | None, found: Times, *, whole: bool
) -> Cost:
    """The times of the model and of the untruncated network, if there is one, beside costs."""
    own: dict[str, Any] = dict.fromkeys(found)
    other: dict[str, Any] = dict.fromkeys(found)
    notes = {}
    for device, times in found.items():
        if isinstance(times, str):
            notes[f"complexity/latency_ms/{device}"] = times
            continue
        ratio = 1.0 if whole else None
        if theirs:
            other[device] = times[1]
            ratio = times[0]["min"] / times[1]["min"]
        own[device] = {**times[0], "ratio": ratio}
    untruncated = {**theirs, "latency_ms": other} if theirs else None
    return Cost({**ours, "untruncated": untruncated, "latency_ms": own}, notes)

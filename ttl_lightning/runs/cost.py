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
    strategy, whole = spec.strategy, common | {"strategy": "ftl"}
    own = {"strategy": strategy.name, "cutoff": spec.cutoff, "pooling": strategy.pooling}
    models, costs, notes = [common | own], [complexity(model, size).to_dict()], {}
    if model.strategy.keeps_rest:
        notes["complexity/untruncated"] = "this strategy keeps the network whole"
    else:
        try:
            costs.append(complexity(create_model(**whole), size).to_dict())
            models.append(whole)
        except ConfigError as error:  # images that are large enough for the cut network alone
            notes["complexity/untruncated"] = str(error)
    devices = list(dict.fromkeys(("cpu", parts.device.type)))
    unasked: Times = dict.fromkeys(devices, "it was not asked for (latency=false)")
    found = times(models, size, devices) if times else unasked
    for cost in costs:
        cost["latency_ms"] = dict.fromkeys(devices)
    for device, timed in found.items():
        if isinstance(timed, str):
            notes[f"complexity/latency_ms/{device}"] = timed
            continue
        for cost, time in zip(costs, timed, strict=True):
            cost["latency_ms"][device] = time
        known = len(costs) > 1 or model.strategy.keeps_rest
        ratio = timed[0]["min"] / timed[-1]["min"] if known else None
        costs[0]["latency_ms"][device] = {**timed[0], "ratio": ratio}
    return Cost({**costs[0], "untruncated": costs[1] if len(costs) > 1 else None}, notes)

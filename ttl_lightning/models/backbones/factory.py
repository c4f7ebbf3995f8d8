"""Make a backbone by name, with its weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch import nn

from ttl_lightning.errors import UnknownNameError, WeightsError, check_choice, check_number
from ttl_lightning.models.backbones import checkpoints as _weights
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.inflation import inflated, is_planar
from ttl_lightning.models.backbones.layouts import LAYOUTS, layout_of, units_of
from ttl_lightning.models.backbones.pretrained import (
    WeightsRecord,
    demand_fit,
    find,
    in_network_s_names,
    nothing_to_inflate,
    record_of,
)
from ttl_lightning.models.backbones.tensors import found_under
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC


def list_backbones() -> list[str]:
    """Every timm network that a layout describes, and the 3D networks, sorted."""
    import timm

    modules = (layout.module for layout in LAYOUTS.values() if layout.module)
    planar = (name for module in modules for name in timm.list_models(module=module))
    return sorted((*planar, *VOLUMETRIC))


def create_backbone(
    name: str,
    weights: str | Path | None = "imagenet",
    in_channels: int = 3,
    needed: str | int = "full",
) -> Backbone:
    """Build a backbone of named units from the network of that name.

    Args:
        name: a timm name, with or without a weights tag (`resnet50`, `resnet50.a1_in1k`), or a 3D
            network's (`resnext3d_101`).
        weights: `imagenet`, a `.pth` or `.safetensors` file, a run's folder, or None for random
            ones, to train from scratch. Only the head of the source may differ. A 3D network also
            takes the weights of the 2D network of its shape, inflated; `imagenet` means these.
        in_channels: channels of the input; the first convolution's weights are adapted as timm does
            it.
        needed: the last unit that the weights must fill (a run that was cut may hold no later one).

    Raises:
        UnknownNameError: if there is no such network, or no layout describes its family.
        UnknownCutoffError: if `needed` names no unit.
        WeightsError: if the weights cannot be found, read or matched.
    """
    import timm

    from ttl_lightning.models.backbones.same_padding import fuse_same_padding

    check_number("data.in_channels", in_channels, 1, integer=True)
    _check_name(name)
    if name in VOLUMETRIC:
        net, dims = VOLUMETRIC[name].make(in_channels), 3
    else:
        net, dims = timm.create_model(name, pretrained=False, in_chans=in_channels), 2
        fuse_same_padding(net)
    mean, std = pixel_statistics(name, in_channels)
    backbone = Backbone(name, net, units_of(net), in_channels, mean, std, dims)
    cutoff = backbone.resolve(needed)
    if weights is not None:
        record = record_of(name, str(weights))
        demand_fit(record, name, net)
        backbone.weights_report = _load(backbone, net, str(weights), cutoff, record)
        backbone.pretrained_units = backbone.units[: backbone.index(cutoff)]
        backbone.mean = _channels(record.mean, in_channels)
        backbone.std = _channels(record.std, in_channels)
        _weights.log.info("%s", backbone.weights_report)
    return backbone


def pixel_statistics(
    name: str, in_channels: int, weights: str | Path | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel, on a scale of 0 to 1, that a network's weights expect.

    They are those of the weights' record (`pretrained.WeightsRecord`); without weights, those of
    the weights that are published for the network.

    Raises:
        UnknownNameError: if there is no such network.
        WeightsError: if the weights cannot be found or read.
        DataError: if a run's result cannot be read.
    """
    _check_name(name)
    record = record_of(name, None if weights is None else str(weights))
    return _channels(record.mean, in_channels), _channels(record.std, in_channels)


def _check_name(name: str) -> None:
    import timm

    if name in VOLUMETRIC:
        return
    if not timm.is_model(str(name)):
        raise UnknownNameError(
            "backbone",
            name,
            list_backbones(),
            f"Any timm name of these families will do. For volumes: {', '.join(VOLUMETRIC)}.",
        )
    architecture = name.partition(".")[0]
    tagged = (architecture, *timm.list_pretrained(f"{architecture}.*"))
    check_choice(f"weights tag of {architecture}", name, tagged)


def _channels(values: tuple[float, ...], in_channels: int) -> tuple[float, ...]:
    """Statistics of RGB for another number of channels: grey takes their mean."""
    if in_channels == len(values):
        return tuple(values)
    return (sum(values) / len(values),) * in_channels


def _load(
    backbone: Backbone, net: nn.Module, weights: str, cutoff: str, record: WeightsRecord
) -> _weights.WeightsReport:
    path = find(backbone.name, weights)
    tensors = _weights.read(path)
    state = backbone.state_dict()
    pieces = [f"{p}." for unit in backbone.units[: backbone.index(cutoff)] for p in unit.pieces]
    kept = {key: value for key, value in state.items() if key.startswith(tuple(pieces))}
    network = VOLUMETRIC.get(backbone.name)
    tensors = network.renamed(tensors) if network else tensors
    if prefix := found_under(tensors, kept):
        tensors = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    first_conv: str | None
    if network:
        first_conv = network.first_conv
        planar = is_planar(tensors.values())
        if planar and network.planar is None:
            raise nothing_to_inflate(backbone.name)
        tensors = inflated(tensors, state) if planar else tensors
    else:
        first_conv, planar = cast("dict[str, Any]", net.pretrained_cfg).get("first_conv"), False
        tensors = in_network_s_names(tensors, record, net)
    later = (key for key in state if key not in kept)
    known = (*layout_of(net).head, *later)
    try:
        filled = _weights.matched(tensors, kept, known, str(path), first_conv)
    except WeightsError as error:
        if network and network.unprojected and not any("downsample" in key for key in tensors):
            raise WeightsError(
                f"{error} MedicalNet's have no weights of shortcuts: they fit "
                f"backbone={network.unprojected}."
            ) from error
        raise
    present = {
        k: v
        for k, v in tensors.items()
        if k in state and k not in kept and v.shape == state[k].shape
    }
    backbone.load_state_dict({**present, **filled}, strict=False)
    # counters of batches are from later versions of torch than many published weights
    wanted = [k for k in kept if k in filled or not k.endswith("num_batches_tracked")]
    digest = _weights.sha256(path)
    return _weights.WeightsReport(
        str(path), digest, len(filled), len(wanted), planar, prefix, asdict(record)
    )

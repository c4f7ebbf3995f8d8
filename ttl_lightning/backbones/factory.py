"""Make a backbone by name, with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from ttl_lightning.backbones import weights as _weights
from ttl_lightning.backbones.base import Backbone
from ttl_lightning.backbones.layouts import LAYOUTS, units_of
from ttl_lightning.errors import UnknownNameError, check_choice, check_number


def list_backbones() -> list[str]:
    """Every timm network that a layout describes, sorted."""
    import timm

    names = (timm.list_models(module=layout.module) for layout in LAYOUTS.values())
    return sorted(name for family in names for name in family)


def create_backbone(
    name: str, weights: str | Path | None = None, in_channels: int = 3, needed: str | int = "full"
) -> Backbone:
    """Build a backbone of named units from timm's network of that name.

    Args:
        name: a timm name, with or without a weights tag (`resnet50`, `resnet50.a1_in1k`).
        weights: `imagenet`, a `.pth` or `.safetensors` file, a run's folder, or None for random
            ones. Only the head of the source may differ.
        in_channels: channels of the input; the first convolution's weights are adapted as timm does
            it.
        needed: the last unit that the weights must fill (a run that was cut may hold no later one).

    Raises:
        UnknownNameError: if timm has no such network, or no layout describes its family.
        UnknownCutoffError: if `needed` names no unit.
        WeightsError: if the weights cannot be found, read or matched.
    """
    import timm

    check_number("data.in_channels", in_channels, 1, integer=True)
    mean, std = pixel_statistics(name, in_channels)
    net = timm.create_model(name, pretrained=False, in_chans=in_channels)
    backbone = Backbone(name, net, units_of(net), in_channels, mean, std)
    cutoff = backbone.resolve(needed)
    if weights is not None:
        backbone.weights_report = _load(backbone, net, str(weights), cutoff)
        _weights.log.info("%s", backbone.weights_report)
    return backbone


def pixel_statistics(name: str, in_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel, on a scale of 0 to 1, that a network's weights expect.

    Raises:
        UnknownNameError: if timm has no such network.
    """
    import timm

    _check_name(name)
    cfg = timm.get_pretrained_cfg(name)
    mean, std = (cfg.mean, cfg.std) if cfg else (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    return _channels(mean, in_channels), _channels(std, in_channels)


def _check_name(name: str) -> None:
    import timm

    if not timm.is_model(str(name)):
        raise UnknownNameError(
            "backbone", name, list_backbones(), "Any timm name of these families will do."
        )
    check_choice("weights tag of " + name.partition(".")[0], name, _with_tags(name))


def _with_tags(name: str) -> list[str]:
    import timm

    architecture = name.partition(".")[0]
    tagged = timm.list_pretrained(f"{architecture}.*")
    return [architecture, *tagged]


def _channels(values: tuple[float, ...], in_channels: int) -> tuple[float, ...]:
    """Statistics of RGB for another number of channels: grey takes their mean."""
    if in_channels == len(values):
        return tuple(values)
    return (sum(values) / len(values),) * in_channels


def _load(backbone: Backbone, net: nn.Module, weights: str, cutoff: str) -> _weights.WeightsReport:
    path = _weights.find(weights, backbone.name)
    tensors = _weights.read(path)
    if weights == "imagenet" and backbone.name == _weights.BUNDLED:
        tensors = _weights.in_order_of(net.state_dict(), tensors)
    state = backbone.state_dict()
    kept = Backbone("", net, backbone.units[: backbone.index(cutoff)], 0, (), ()).state_dict()
    later = (key for key in state if key not in kept)
    known = (*LAYOUTS[type(net).__name__].head, *later)
    first_conv = cast("dict[str, Any]", net.pretrained_cfg).get("first_conv")
    filled = _weights.matched(tensors, kept, known, str(path), first_conv)
    present = {
        k: v
        for k, v in tensors.items()
        if k in state and k not in kept and v.shape == state[k].shape
    }
    backbone.load_state_dict({**present, **filled}, strict=False)
    return _weights.WeightsReport(str(path), _weights.sha256(path), len(filled), len(kept))

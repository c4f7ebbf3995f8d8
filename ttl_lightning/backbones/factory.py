"""Make a backbone by name, with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import nn

from ttl_lightning.backbones import weights as _weights
from ttl_lightning.backbones.base import Backbone
from ttl_lightning.backbones.inflation import inflated, is_planar
from ttl_lightning.backbones.layouts import LAYOUTS, layout_of, units_of
from ttl_lightning.backbones.volumetric import IMAGENET, VOLUMETRIC, Statistics, Volumetric
from ttl_lightning.errors import UnknownNameError, WeightsError, check_choice, check_number
from ttl_lightning.results import FILE_NAME, RunResult


def list_backbones() -> list[str]:
    """Every timm network that a layout describes, and the 3D networks, sorted."""
    import timm

    modules = (layout.module for layout in LAYOUTS.values() if layout.module)
    planar = (name for module in modules for name in timm.list_models(module=module))
    return sorted((*planar, *VOLUMETRIC))


def create_backbone(
    name: str, weights: str | Path | None = None, in_channels: int = 3, needed: str | int = "full"
) -> Backbone:
    """Build a backbone of named units from the network of that name.

    Args:
        name: a timm name, with or without a weights tag (`resnet50`, `resnet50.a1_in1k`), or a 3D
            network's (`resnext3d_101`).
        weights: `imagenet`, a `.pth` or `.safetensors` file, a run's folder, or None for random
            ones. Only the head of the source may differ. A 3D network also takes the weights of
            the 2D network of its shape, inflated; `imagenet` means these.
        in_channels: channels of the input; the first convolution's weights are adapted as timm does
            it.
        needed: the last unit that the weights must fill (a run that was cut may hold no later one).

    Raises:
        UnknownNameError: if there is no such network, or no layout describes its family.
        UnknownCutoffError: if `needed` names no unit.
        WeightsError: if the weights cannot be found, read or matched.
    """
    import timm

    check_number("data.in_channels", in_channels, 1, integer=True)
    mean, std = pixel_statistics(name, in_channels)
    if name in VOLUMETRIC:
        net, dims = VOLUMETRIC[name].make(in_channels), 3
    else:
        net, dims = timm.create_model(name, pretrained=False, in_chans=in_channels), 2
    backbone = Backbone(name, net, units_of(net), in_channels, mean, std, dims)
    cutoff = backbone.resolve(needed)
    if weights is not None:
        backbone.weights_report = _load(backbone, net, str(weights), cutoff)
        backbone.pretrained_units = backbone.units[: backbone.index(cutoff)]
        backbone.mean, backbone.std = pixel_statistics(name, in_channels, weights)
        _weights.log.info("%s", backbone.weights_report)
    return backbone


def pixel_statistics(
    name: str, in_channels: int, weights: str | Path | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel, on a scale of 0 to 1, that a network's weights expect.

    A 3D network's depend on its weights: a run's are those that the run was trained with, those of
    3D weights from elsewhere are in `volumetric.py`, and all others are ImageNet's.

    Raises:
        UnknownNameError: if there is no such network.
        WeightsError: if a 3D network's weights cannot be found or read.
        DataError: if a run's result cannot be read.
    """
    _check_name(name)
    if name in VOLUMETRIC:
        mean, std = _volumes_statistics(VOLUMETRIC[name], None if weights is None else str(weights))
    else:
        mean, std = _planar_statistics(name)
    return _channels(mean, in_channels), _channels(std, in_channels)


def _planar_statistics(name: str) -> Statistics:
    import timm

    cfg = timm.get_pretrained_cfg(name)
    return (tuple(cfg.mean), tuple(cfg.std)) if cfg else IMAGENET


def _volumes_statistics(network: Volumetric, weights: str | None) -> Statistics:
    if weights is None:
        return IMAGENET
    if weights != "imagenet":
        path = _weights.find(weights, "")
        run = path.parent.parent
        if path.parent.name == "checkpoints" and (run / FILE_NAME).is_file():
            model = RunResult.load(run).model
            if "mean" in model and "std" in model:
                return tuple(model["mean"]), tuple(model["std"])
        if not is_planar(_weights.read(path).values()):
            return network.statistics
    return _planar_statistics(network.planar) if network.planar else IMAGENET


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


def find_weights(name: str, weights: str) -> Path:
    """As `weights.find`, but a 3D network's `imagenet` is the 2D network's of its shape."""
    if weights != "imagenet" or name not in VOLUMETRIC:
        return _weights.find(weights, name)
    planar = VOLUMETRIC[name].planar
    if planar is None:
        raise _nothing_to_inflate(name)
    return _weights.find(weights, planar)


def _nothing_to_inflate(name: str) -> WeightsError:
    pairs = (f"{key} ({net.planar})" for key, net in VOLUMETRIC.items() if net.planar)
    return WeightsError(
        f"backbone.weights: no 2D network has the shape of {name}, so there are no 2D weights to "
        f"inflate for it, only for {', '.join(pairs)}. Give backbone.weights=FILE with 3D weights, "
        "or null."
    )


def _load(backbone: Backbone, net: nn.Module, weights: str, cutoff: str) -> _weights.WeightsReport:
    path = find_weights(backbone.name, weights)
    tensors = _weights.read(path)
    state = backbone.state_dict()
    network = VOLUMETRIC.get(backbone.name)
    first_conv: str | None
    if network:
        first_conv, tensors = network.first_conv, network.renamed(tensors)
        planar = is_planar(tensors.values())
        if planar and network.planar is None:
            raise _nothing_to_inflate(backbone.name)
        tensors = inflated(tensors, state) if planar else tensors
    else:
        first_conv, planar = cast("dict[str, Any]", net.pretrained_cfg).get("first_conv"), False
        if weights == "imagenet" and backbone.name == _weights.BUNDLED:
            tensors = _weights.in_order_of(net.state_dict(), tensors)
    kept = Backbone("", net, backbone.units[: backbone.index(cutoff)], 0, (), ()).state_dict()
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
    return _weights.WeightsReport(str(path), digest, len(filled), len(wanted), inflated=planar)

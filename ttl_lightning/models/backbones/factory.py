"""Make a backbone by name, with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch import nn

from ttl_lightning.errors import (
    ConfigError,
    UnknownNameError,
    WeightsError,
    check_choice,
    check_number,
)
from ttl_lightning.models.backbones import checkpoints as _weights
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.flows import Net
from ttl_lightning.models.backbones.inflation import inflated, is_planar
from ttl_lightning.models.backbones.named import NAMED
from ttl_lightning.models.backbones.naming import Named, in_own_names, under
from ttl_lightning.models.backbones.own import own_backbone, own_maker
from ttl_lightning.models.backbones.pretrained import (
    WeightsRecord,
    demand_fit,
    find,
    nothing_to_inflate,
    record_of,
)
from ttl_lightning.models.backbones.splitting import split_network, unplaced
from ttl_lightning.models.backbones.tensors import found_under
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC, of_channels

SWIN = ("swin_transformer", "swin_transformer_v2")
"""timm's modules of networks that take images of any size when asked to."""


def list_backbones() -> list[str]:
    """Every timm network, and the 3D networks, sorted; a few of timm's are refused when built."""
    import timm

    return sorted((*timm.list_models(), *VOLUMETRIC))


def create_backbone(
    name: str,
    weights: str | Path | None = "imagenet",
    in_channels: int = 3,
    needed: str | int = "full",
    image_size: int | Sequence[int] | None = None,
) -> Backbone:
    """Build a backbone of named units from the network of that name.

    Args:
        name: a timm name, with or without a weights tag (`resnet50`, `resnet50.a1_in1k`), a 3D
            network's (`resnext3d_101`), or one of yours (`own`).
        weights: `imagenet`, a `.pth` or `.safetensors` file, a run's folder, one of timm's tags,
            `hf_hub:` and a repository, or None for random ones, to train from scratch. Only the
            head of the source may differ. A 3D network also takes the weights of the 2D network of
            its shape, inflated; `imagenet` means these.
        in_channels: channels of the input; the first convolution's weights are adapted as timm does
            it.
        needed: the last unit that the weights must fill (a run that was cut may hold no later one).
        image_size: height and width in pixels of the inputs to come, or one number for both, for
            networks whose positions are of one size (transformers): theirs are resampled as timm
            does it. None: the network's own.

    Raises:
        UnknownNameError: if there is no such network.
        ConfigError: if neither a layout nor timm's own interface tells its units, or it cannot take
            images of this size.
        UnknownCutoffError: if `needed` names no unit.
        WeightsError: if the weights cannot be found, read or matched.
    """
    check_number("data.in_channels", in_channels, 1, integer=True)
    _check_name(name)
    backbone, net, head = _made(name, in_channels, image_size)
    cutoff = backbone.resolve(needed)
    if weights is not None:
        record = record_of(name, str(weights))
        demand_fit(record, name, net)
        backbone.weights_report = _load(backbone, net, head, str(weights), cutoff, record)
        backbone.pretrained_units = backbone.units[: backbone.index(cutoff)]
        backbone.mean = of_channels(record.mean, in_channels)
        backbone.std = of_channels(record.std, in_channels)
        _weights.log.info("%s", backbone.weights_report)
    return backbone


def _made(
    name: str, in_channels: int, image_size: int | Sequence[int] | None
) -> tuple[Backbone, nn.Module, tuple[str, ...]]:
    """A network with random weights as a backbone, the network, and the paths of its head."""
    if (make := own_maker(name)) is not None:
        backbone, net = own_backbone(name, make, in_channels)
        return backbone, net, unplaced(net, backbone.units)
    if name in VOLUMETRIC:
        net, dims, native = VOLUMETRIC[name].make(in_channels), 3, None
    else:
        size = [image_size] * 2 if isinstance(image_size, int) else image_size
        size = size if size is not None and len(size) == 2 else None
        net, dims = planar_network(name, in_channels, size), 2
        native = _native(net, size)
    split = split_network(name, net, (in_channels, *native) if native else None)
    mean, std = pixel_statistics(name, in_channels)
    backbone = Backbone(*(name, net, split.units, in_channels, mean, std), dims, split.flow, native)
    return backbone, net, split.head


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
    if weights is None and (make := own_maker(name)) is not None:
        backbone, _ = own_backbone(name, make, in_channels)
        return backbone.mean, backbone.std
    record = record_of(name, None if weights is None else str(weights))
    return of_channels(record.mean, in_channels), of_channels(record.std, in_channels)


def _check_name(name: str) -> None:
    import timm

    if name in VOLUMETRIC or own_maker(name) is not None:
        return
    if not timm.is_model(str(name)):
        raise UnknownNameError(
            "backbone",
            name,
            list_backbones(),
            f"For volumes: {', '.join(VOLUMETRIC)}. One of yours is registered, an entry point, or "
            f"named by backbone._target_= or in {NAMED}.",
        )
    architecture = name.partition(".")[0]
    tagged = (architecture, *timm.list_pretrained(f"{architecture}.*"))
    check_choice(f"weights tag of {architecture}", name, tagged)


def planar_network(
    name: str, in_channels: int, image_size: Sequence[int] | None = None
) -> nn.Module:
    """Timm's network with random weights, for images of a size.

    Raises:
        ConfigError: if it cannot take images of this size.
    """
    import timm
    from timm.models import is_model_in_modules

    from ttl_lightning.models.backbones.same_padding import fuse_same_padding

    # Swin's positions are within windows, so that images may have any size
    options: dict[str, Any] = {"strict_img_size": False} if is_model_in_modules(name, SWIN) else {}
    net: nn.Module = timm.create_model(name, pretrained=False, in_chans=in_channels, **options)
    fuse_same_padding(net)
    if image_size is not None and not options:
        resized(name, net, tuple(image_size))
    return net


def resized(name: str, net: Net, size: tuple[int, ...]) -> None:
    """Let a network whose positions are of one size take another, if it can.

    Raises:
        ConfigError: if the size is no multiple of its patches'.
    """
    if not hasattr(net, "set_input_size") or size == tuple(net.pretrained_cfg["input_size"][1:]):
        return
    try:
        net.set_input_size(img_size=size)
    except (AssertionError, ValueError, RuntimeError, TypeError) as error:
        raise ConfigError(f"backbone={name} takes no images of {list(size)}: {error}.") from error
    patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    if patch and any(n % by for n, by in zip(size, patch, strict=True)):
        fits = [max(round(n / by), 1) * by for n, by in zip(size, patch, strict=True)]
        raise ConfigError(
            f"backbone={name} cuts images into patches of {'x'.join(map(str, patch))} pixels, got "
            f"data.image_size={list(size)}; the nearest that fits is {fits}."
        )


def _native(net: Net, image_size: Sequence[int] | None) -> tuple[int, ...]:
    """The size of images that a network is for."""
    if image_size is not None and hasattr(net, "set_input_size"):
        return tuple(image_size)
    return tuple(net.pretrained_cfg["input_size"][1:])


def _load(
    backbone: Backbone,
    net: nn.Module,
    head: tuple[str, ...],
    weights: str,
    cutoff: str,
    record: WeightsRecord,
) -> _weights.WeightsReport:
    path = find(backbone.name, weights)
    tensors = _weights.read(path)
    state = backbone.state_dict()
    units = backbone.units[: backbone.index(cutoff)]
    kept = {key: state[key] for key in state if any(unit.owns(key) for unit in units)}
    network = VOLUMETRIC.get(backbone.name)
    named = Named(tensors, "", "")
    first_conv: str | None
    if network:
        tensors = network.renamed(tensors)
        prefix = found_under(tensors, kept)
        tensors = under(tensors, prefix)
        named = named._replace(prefix=prefix)
        first_conv = network.first_conv
        planar = is_planar(tensors.values())
        if planar and network.planar is None:
            raise nothing_to_inflate(backbone.name)
        tensors = inflated(tensors, state) if planar else tensors
    else:
        stated = cast("dict[str, Any]", getattr(net, "pretrained_cfg", {}))
        first_conv, planar = stated.get("first_conv"), False
        named = in_own_names(tensors, kept, state, net)
        tensors = named.tensors
    later = (key for key in state if key not in kept)
    known = (*head, *later)
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
        *(str(path), digest, len(filled), len(wanted), planar),
        *(named.prefix, named.how, asdict(record)),
    )

"""Shapes of a backbone's maps, of a pass that computes no values."""

from __future__ import annotations

import bisect
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.units import Shape, Unit

if TYPE_CHECKING:
    from ttl_lightning.models.backbones.base import Backbone

LARGEST_TRIED_PX = 1024


def map_shapes(backbone: Backbone, spatial: tuple[int, ...]) -> list[tuple[int, ...]] | None:
    """Shapes `(C, *spatial)` after every piece of every unit; None for an input that is too small.

    Args:
        backbone: its mode is restored.
        spatial: the input's size.
    """
    walk = _Walk(backbone)
    state = {**dict(walk.named_parameters()), **dict(walk.named_buffers())}
    meta = {key: torch.empty_like(value, device="meta") for key, value in state.items()}
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            x = torch.empty((1, backbone.in_channels, *spatial), device="meta")
            shapes: list[tuple[int, ...]] = torch.func.functional_call(walk, meta, (x,))
    # how torch says that a window is larger than its input, and timm that a size does not fit
    except (RuntimeError, ValueError, AssertionError):
        return None
    finally:
        backbone.train(was_training)
    return None if 0 in shapes[-1] else shapes


def measured(backbone: Backbone) -> tuple[Unit, ...]:
    """The backbone's units, with the channels and the reduction of their maps.

    Raises:
        ConfigError: if it takes inputs neither of `LARGEST_TRIED_PX` a side nor of its own size.
    """
    # of a large input, so that what a window lacks at the borders is lost in the rounding
    sizes = ((LARGEST_TRIED_PX,) * backbone.spatial_dims, backbone.native)
    for spatial in filter(None, sizes):
        if shapes := map_shapes(backbone, spatial):
            break
    else:
        raise ConfigError(f"{backbone.name} takes no inputs of {LARGEST_TRIED_PX} pixels a side.")
    known = iter([_shape(channels, extent, spatial) for channels, *extent in shapes])
    return tuple(
        replace(unit, shapes=tuple(islice(known, max(1, len(unit.pieces)))))
        for unit in backbone.units
    )


def _shape(channels: int, extent: list[int], spatial: tuple[int, ...]) -> Shape:
    reduction = tuple(round(n / size) for n, size in zip(spatial, extent, strict=True))
    covered = (size * by for size, by in zip(extent, reduction, strict=True))
    return Shape(channels, reduction, any(c < n for c, n in zip(covered, spatial, strict=True)))


def unfit(backbone: Backbone, spatial: tuple[int, ...]) -> ConfigError:
    """The error of an input that a network cannot take, with the nearest size that it can."""
    steps = backbone.reductions[0]
    whole = tuple(-(-n // by) * by for n, by in zip(spatial, steps, strict=True))
    if whole != spatial and backbone.try_shape(whole) is not None:
        return ConfigError(
            f"{backbone.name} takes images that its patches divide, not of {list(spatial)}; the "
            f"next data.image_size that fits is {list(whole)}."
        )
    fits = bisect.bisect_left(
        range(LARGEST_TRIED_PX),
        True,  # noqa: FBT003 - what the key gives from the smallest fitting size on
        key=lambda size: backbone.try_shape((size,) * len(spatial)) is not None,
    )
    given = "x".join(map(str, spatial))
    if backbone.native is not None and fits == LARGEST_TRIED_PX:
        return ConfigError(
            f"{backbone.name} takes no images of {given} pixels as it is, but of "
            f"{'x'.join(map(str, backbone.native))}."
        )
    inputs, points = ("images", "pixels") if len(spatial) == 2 else ("volumes", "voxels")
    smallest = fits if len(spatial) == 2 else [fits] * len(spatial)
    return ConfigError(
        f"{inputs} of {given} {points} are too small for {backbone.name} up to "
        f"{backbone.cutoffs[-1]}; the smallest data.image_size that fits is "
        f"{smallest if fits < LARGEST_TRIED_PX else 'unknown'}."
    )


class _Walk(nn.Module):
    """What gives the shapes, as a module, for torch to put other weights in."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> list[tuple[int, ...]]:
        return [tuple(out.shape[1:]) for _, maps in self.backbone.walk(x) for out in maps]

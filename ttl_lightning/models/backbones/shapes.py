"""Shapes of a backbone's maps, of a pass that computes no values."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.layouts import Shape, Unit

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
    except (RuntimeError, ValueError):  # how torch says that a window is larger than its input
        return None
    finally:
        backbone.train(was_training)
    return None if 0 in shapes[-1] else shapes


def measured(backbone: Backbone) -> tuple[Unit, ...]:
    """The backbone's units, with the channels and the reduction of their maps.

    Raises:
        ConfigError: if it takes no inputs of `LARGEST_TRIED_PX` a side.
    """
    shapes = map_shapes(backbone, (LARGEST_TRIED_PX,) * backbone.spatial_dims)
    if shapes is None:
        raise ConfigError(f"{backbone.name} takes no inputs of {LARGEST_TRIED_PX} pixels a side.")
    # of a large input, so that what a window lacks at the borders is lost in the rounding
    known = iter(
        Shape(channels, tuple(round(LARGEST_TRIED_PX / size) for size in sizes))
        for channels, *sizes in shapes
    )
    return tuple(
        replace(unit, shapes=tuple(islice(known, len(unit.pieces)))) for unit in backbone.units
    )


class _Walk(nn.Module):
    """What gives the shapes, as a module, for torch to put other weights in."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> list[tuple[int, ...]]:
        shapes = []
        for unit in self.backbone.units:
            for out in self.backbone.pieces(unit, x):
                shapes.append(tuple(out.shape[1:]))
                x = out
        return shapes

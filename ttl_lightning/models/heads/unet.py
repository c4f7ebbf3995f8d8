"""The head that segments: a U-Net's decoder over the maps that a cut leaves.

A stage for each of these maps, so a cut of the backbone removes the decoder's deepest stages with
it, and those that stay are as wide as in the whole network: `WIDTHS` from the deepest of a network
of five resolutions up.

Source: Ronneberger et al. (2015); `Unet` of segmentation_models_pytorch, whose numbers of
parameters, weights and outputs are these. MONAI's `UpCat` would double every axis at each stage,
which networks for volumes do not all halve; so its convolutions are used, and its stages are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.units import Shape

# of the stages, the finest first; further ones are as wide as the last
WIDTHS = (16, 32, 64, 128, 256)


class Stage(nn.Module):
    """Enlarges a map, joins the backbone's map of that size to it, and convolves twice."""

    def __init__(self, dims: int, channels: int, skip: int, width: int) -> None:
        super().__init__()
        # imports MONAI, which takes seconds, where there is something to segment
        from monai.networks.nets.basic_unet import TwoConv

        relu = ("relu", {"inplace": True})
        self.convs = TwoConv(dims, channels + skip, width, act=relu, norm="batch", bias=False)

    def forward(self, x: Tensor, size: Sequence[int], skip: Tensor | None) -> Tensor:
        """The map of a spatial size, which is the skip's."""
        x = functional.interpolate(x, size=tuple(size), mode="nearest")
        out: Tensor = self.convs(x if skip is None else torch.cat([x, skip], 1))
        return out


class UNetHead(nn.Module):
    """The maps of a pyramid, the finest first, to logits (N, num_classes, *spatial).

    Args:
        levels: channels and reduction of the maps that are decoded, the finest first.
        num_classes: channels of the result.
    """

    needs = "pyramid"

    def __init__(self, levels: Sequence[Shape], num_classes: int) -> None:
        super().__init__()
        dims = len(levels[0].reduction)
        skips = [0, *(level.channels for level in levels[:-1])]
        if max(levels[0].reduction) == 1:  # the finest is as fine as the result
            skips = skips[1:]
        self.finest = levels[0].reduction
        self.levels = len(levels)
        stages, channels = [], levels[-1].channels
        for number, skip in reversed(list(enumerate(skips))):
            width = WIDTHS[min(number, len(WIDTHS) - 1)]
            stages.append(Stage(dims, channels, skip, width))
            channels = width
        self.stages = nn.ModuleList(stages)
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.out = conv(channels, num_classes, 3, padding=1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The logits at the resolution of the backbone's input."""
        *skips, x = maps[: self.levels]
        whole = [n * by for n, by in zip(maps[0].shape[2:], self.finest, strict=True)]
        for stage in self.stages:
            skip = skips.pop() if skips else None
            x = stage(x, whole if skip is None else skip.shape[2:], skip)
        logits: Tensor = self.out(x)
        return logits


def unet_head(backbone: Backbone, _: Sequence[int], num_classes: int) -> UNetHead:
    """The decoder of the maps that a backbone has up to its last layer with weights.

    A pool at the very end (that of a stem, where a network is cut after it) only takes resolution.
    """
    levels: dict[tuple[int, ...], Shape] = {}
    learnt = 0
    for unit in backbone.units:
        for number, shape in enumerate(unit.shapes):
            levels[shape.reduction] = shape
            # a unit that has no pieces has parameters
            piece = unit.pieces[number] if unit.pieces else ""
            if any(True for _ in backbone.net.get_submodule(piece).parameters()):
                learnt = len(levels)
    return UNetHead(list(levels.values())[:learnt], num_classes)

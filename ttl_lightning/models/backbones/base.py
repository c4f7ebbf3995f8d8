"""The one idea of the project: a backbone is an ordered list of named units."""

from __future__ import annotations

import bisect
import copy
import re
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, UnknownCutoffError
from ttl_lightning.models.backbones.checkpoints import WeightsReport
from ttl_lightning.models.backbones.layouts import Unit
from ttl_lightning.models.backbones.shapes import LARGEST_TRIED_PX, map_shapes, measured

# by the number of spatial dimensions: what a network takes, and what to do about another number
TAKES = {
    2: (
        "images, so data.image_size must be one number or [height, width]",
        "a 3D backbone such as resnext3d_50 or resnet3d_18",
    ),
    3: (
        "volumes, so data.image_size must be [slices, height, width]",
        "data=volumes, data=npz3d or data=phantom3d",
    ),
}


class Backbone(nn.Module):
    """A feature extractor made of units: `(N, C, *spatial)` to the last unit's feature map.

    `state_dict()` holds the source network's own keys, or the subset that a truncation leaves, so
    what is trained here loads there and back.

    Args:
        name: the source network's name.
        source: the network that the units' modules are taken from (shared, not copied).
        units: the units to keep, input side first.
        in_channels: number of channels of the input.
        mean: the mean per channel, on a scale of 0 to 1, that the pretrained weights expect to be
            subtracted.
        std: the standard deviation per channel that they expect to be divided by.
        spatial_dims: 2 for images `(N, C, H, W)`, 3 for volumes `(N, C, D, H, W)`.
    """

    def __init__(
        self,
        name: str,
        source: nn.Module,
        units: Sequence[Unit],
        in_channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.name = name
        self.units = tuple(units)
        self.in_channels = in_channels
        self.mean, self.std = tuple(mean), tuple(std)
        self.spatial_dims = spatial_dims
        self.frozen_units: tuple[Unit, ...] = ()
        # those that hold loaded weights
        self.pretrained_units: tuple[Unit, ...] = ()
        self.weights_report: WeightsReport | None = None
        self.net = nn.Module()
        for unit in self.units:
            for piece in unit.pieces:
                _place(self.net, piece, source.get_submodule(piece))
        self.register_state_dict_post_hook(_to_source_keys)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_source_keys)  # type: ignore[no-untyped-call]
        if not all(unit.shapes for unit in self.units):
            self.measure()

    @property
    def cutoffs(self) -> tuple[str, ...]:
        """Every candidate cutoff, input side first."""
        return tuple(unit.name for unit in self.units)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The coarse candidates: the blocks, input side first."""
        sections = dict.fromkeys(unit.section for unit in self.units)
        return tuple(section for section in sections if section.startswith("block"))

    def resolve(self, cutoff: str | int) -> str:
        """The unit that a cutoff means: `block3` and `14` give `block3.6` in a ResNet-50.

        Raises:
            UnknownCutoffError: if the backbone has no such unit; it lists those there are.
        """
        names = self.cutoffs
        if isinstance(cutoff, str) and re.fullmatch(r"-?\d+", cutoff):
            cutoff = int(cutoff)
        if isinstance(cutoff, int) and not isinstance(cutoff, bool):
            if 1 <= cutoff <= len(names):
                return names[cutoff - 1]
        elif cutoff == "full":
            return names[-1]
        elif cutoff in names:
            return cutoff
        else:
            inside = [unit.name for unit in self.units if unit.section == cutoff]
            if inside:
                return inside[-1]
        raise UnknownCutoffError(
            f"cutoff of {self.name}",
            cutoff,
            dict.fromkeys((*self.blocks, *names, "full")),
            f"Or an integer from 1 to {len(names)}.",
        )

    def index(self, cutoff: str | int) -> int:
        """The unit's position, counted from 1: the paper's numbered candidate points."""
        return self.cutoffs.index(self.resolve(cutoff)) + 1

    def truncated(self, cutoff: str | int) -> Self:
        """A copy that ends with the unit of the cutoff."""
        units = self.units[: self.index(cutoff)]
        shared = type(self)(
            self.name, self.net, units, self.in_channels, self.mean, self.std, self.spatial_dims
        )
        shared.frozen_units = self.frozen_units[: len(units)]
        shared.pretrained_units = self.pretrained_units[: len(units)]
        shared.weights_report = self.weights_report
        return copy.deepcopy(shared).train(self.training)

    def freeze(self, cutoff: str | int) -> None:
        """Hold the units up to and including the cutoff: no gradients, no moving statistics.

        The hold survives `train()`, which Lightning calls for every epoch. Another call moves it.
        """
        for module in self._frozen_modules():
            module.requires_grad_(requires_grad=True)
        self.frozen_units = self.units[: self.index(cutoff)]
        for module in self._frozen_modules():
            module.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's own signature
        """Set training mode everywhere but in the frozen units, which stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _frozen_modules(self) -> Iterator[nn.Module]:
        for unit in self.frozen_units:
            for piece in unit.pieces:
                yield self.net.get_submodule(piece)

    def pieces(self, unit: Unit, x: Tensor) -> Iterator[Tensor]:
        """The map after each piece of one unit, given the feature map before the unit."""
        out = x
        for piece in unit.pieces:
            out = self.net.get_submodule(piece)(out)
            yield torch.cat([x, out], 1) if unit.concat else out

    def step(self, unit: Unit, x: Tensor) -> Tensor:
        """Apply one unit to the feature map before it."""
        for out in self.pieces(unit, x):
            last = out
        return last

    def features(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every unit's name and output map, in order, in one pass over x, `(N, C, *spatial)`."""
        for unit in self.units:
            x = self.step(unit, x)
            # A later unit may write in place into what it is given (ReLU): hand out a copy.
            yield unit.name, x.clone()

    @property
    def reductions(self) -> tuple[tuple[int, ...], ...]:
        """Pixels of the input for one pixel of each map of `pyramid`, along each axis."""
        return tuple(self._levels())

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each map of `pyramid`."""
        return tuple(self._levels().values())

    def _levels(self) -> dict[tuple[int, ...], int]:
        return {s.reduction: s.channels for unit in self.units for s in unit.shapes}

    def pyramid(self, x: Tensor) -> tuple[Tensor, ...]:
        """The last map of each resolution, the finest first, in one pass over x `(N, C, *spatial)`.

        Maps inside a unit count too, such as the one before the pool of a stem. They are no copies:
        write into none of them. (No unit does into its input: all begin with a convolution, a norm
        or a pool.)
        """
        maps: dict[tuple[int, ...], Tensor] = {}
        for unit in self.units:
            for shape, out in zip(unit.shapes, self.pieces(unit, x), strict=True):
                maps[shape.reduction] = x = out
        return tuple(maps.values())

    def forward(self, x: Tensor) -> Tensor:
        """The last unit's feature map of x, `(N, C, *spatial)`."""
        for unit in self.units:
            x = self.step(unit, x)
        return x

    def input_shape(self, image_size: int | Sequence[int]) -> tuple[int, ...]:
        """Shape `(C, *spatial)` of one input of this size, as `data.image_size` gives it.

        Args:
            image_size: one number for every dimension, or height and width in pixels, for volumes
                slices, height and width in voxels.

        Raises:
            ConfigError: if it has another number of dimensions than the network's inputs.
        """
        if isinstance(image_size, int):
            return (self.in_channels, *(image_size,) * self.spatial_dims)
        if len(image_size) == self.spatial_dims:
            return (self.in_channels, *image_size)
        takes, advice = TAKES[self.spatial_dims]
        raise ConfigError(
            f"backbone={self.name} takes {takes}, got {list(image_size)}: choose {advice}."
        )

    def output_shape(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Shape `(C, *spatial)` of the map for an input of this spatial size; computes no values.

        Raises:
            ConfigError: if the input is too small for the network; it names the smallest that fits.
        """
        shape = self.try_shape(tuple(spatial))
        if shape is not None:
            return shape
        fits = bisect.bisect_left(
            range(LARGEST_TRIED_PX),
            True,  # noqa: FBT003 - what the key gives from the smallest fitting size on
            key=lambda size: self.try_shape((size,) * len(spatial)) is not None,
        )
        inputs, points = ("images", "pixels") if len(spatial) == 2 else ("volumes", "voxels")
        smallest = fits if len(spatial) == 2 else [fits] * len(spatial)
        raise ConfigError(
            f"{inputs} of {'x'.join(map(str, spatial))} {points} are too small for {self.name} up "
            f"to {self.cutoffs[-1]}; the smallest data.image_size that fits is "
            f"{smallest if fits < LARGEST_TRIED_PX else 'unknown'}."
        )

    def try_shape(self, spatial: tuple[int, ...]) -> tuple[int, ...] | None:
        """As `output_shape`, but None for an input that is too small."""
        shapes = map_shapes(self, spatial)
        return shapes[-1] if shapes else None

    def measure(self) -> None:
        """Find the units' channels and reductions anew, after their modules were changed."""
        self.units = measured(self)


def _place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Register a module under its path in the source network, in plain containers."""
    *parents, leaf = path.split(".")
    for parent in parents:
        if not hasattr(root, parent):
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(leaf, module)


def _to_source_keys(_: nn.Module, state: dict[str, Tensor], prefix: str, *__: object) -> None:
    """Name the tensors as the source network does.

    They lie one level down since a network's own names (`features`, `blocks`) are attributes here.
    """
    for key in [key for key in state if key.startswith(f"{prefix}net.")]:
        state[prefix + key.removeprefix(f"{prefix}net.")] = state.pop(key)


def _from_source_keys(_: nn.Module, state: dict[str, Tensor], prefix: str, *__: object) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}net.{key.removeprefix(prefix)}"] = state.pop(key)

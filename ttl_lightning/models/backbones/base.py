"""The one idea of the project: a backbone is an ordered list of named units."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, UnknownCutoffError
from ttl_lightning.models.backbones.checkpoints import WeightsReport
from ttl_lightning.models.backbones.flows import MAPS, Change, Flow, States, Walk
from ttl_lightning.models.backbones.recomputing import recomputing
from ttl_lightning.models.backbones.shapes import map_shapes, measured, unfit
from ttl_lightning.models.backbones.units import Unit

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
        flow: what passes from unit to unit.
        native: spatial size of the inputs that the network is made for; others may not fit.
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
        flow: Flow = MAPS,
        native: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.units = tuple(units)
        self.in_channels = in_channels
        self.mean, self.std = tuple(mean), tuple(std)
        self.spatial_dims = spatial_dims
        self.flow = flow
        self.native = None if native is None else tuple(native)
        self.frozen_units: tuple[Unit, ...] = ()
        # those that hold loaded weights
        self.pretrained_units: tuple[Unit, ...] = ()
        self.weights_report: WeightsReport | None = None
        # gradient checkpointing
        self.recomputes = False
        self.net = flow.shell(source, self.units)
        self.register_state_dict_post_hook(_to_source_keys)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_source_keys)  # type: ignore[no-untyped-call]
        if not all(unit.shapes for unit in self.units):
            self.measure()

    @classmethod
    def from_module(
        cls,
        net: nn.Module,
        units: Mapping[str, Sequence[str]] | Sequence[Sequence[str]],
        in_channels: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        *,
        example: Tensor | None = None,
    ) -> Self:
        """A network of your own, by the paths of its units' modules.

        Args:
            net: of which the modules are taken; what follows the units is its head.
            units: by name (`stem`, `block1.1`, …, `tail`) the modules that are applied one after
                the other; without names each is a block of its own.
            in_channels: number of channels of its input.
            mean: per channel, on a scale of 0 to 1; None: ImageNet's.
            std: likewise.
            example: an input to compare with what the network itself computes; None: noise of 64
                pixels or voxels a side.

        Raises:
            ConfigError: if a path or a name is wrong, or the network passes on something else from
                unit to unit than these modules one after the other.
        """
        from ttl_lightning.models.backbones.modules import as_units, check_chain
        from ttl_lightning.models.backbones.volumetric import IMAGENET, of_channels

        found = as_units(net, units)
        dims = 3 if any(isinstance(module, nn.Conv3d) for module in net.modules()) else 2
        x = torch.randn(1, in_channels, *[64] * dims) if example is None else example
        check_chain(net, found, x)
        usual = [of_channels(values, in_channels) for values in IMAGENET]
        return cls(
            *(type(net).__name__, net, found, in_channels, mean or usual[0], std or usual[1]),
            dims,
            native=x.shape[2:],
        )

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
            *(self.name, self.net, units, self.in_channels, self.mean, self.std),
            *(self.spatial_dims, self.flow, self.native),
        )
        shared.frozen_units = self.frozen_units[: len(units)]
        shared.pretrained_units = self.pretrained_units[: len(units)]
        shared.weights_report = self.weights_report
        return copy.deepcopy(shared).train(self.training)

    def freeze(self, cutoff: str | int) -> None:
        """Hold the units up to and including the cutoff: no gradients, no moving statistics.

        The hold survives `train()`, which Lightning calls for every epoch. Another call moves it.
        """
        for parameter in self.parameters_of(self.frozen_units):
            parameter.requires_grad_(True)  # noqa: FBT003 - torch's own signature
        self.frozen_units = self.units[: self.index(cutoff)]
        for parameter in self.parameters_of(self.frozen_units):
            parameter.requires_grad_(False)  # noqa: FBT003
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's own signature
        """Set training mode everywhere but in the frozen units, which stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _frozen_modules(self) -> Iterator[nn.Module]:
        modules = dict(self.net.named_modules())
        for unit in self.frozen_units:
            yield from (modules[path] for path in unit.paths if path in modules)

    def parameters_of(self, units: Sequence[Unit]) -> Iterator[nn.Parameter]:
        """The parameters of some units."""
        for name, parameter in self.net.named_parameters():
            if any(unit.owns(name) for unit in units):
                yield parameter

    def walk(self, x: Tensor, change: Change | None = None) -> Walk:
        """Each unit with its maps, `(N, C, *spatial)`, one after each of its pieces, in one pass.

        Args:
            x: `(N, C, *spatial)`.
            change: gives what takes the place of a unit's last map before the pass goes on.
        """
        return self.flow.walk(self.net, self.units, x, change, self.states)

    @property
    def states(self) -> States:
        """How a pass computes a unit."""
        return recomputing(self.flow.states) if self.recomputes else self.flow.states

    def features(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every unit's name and output map, in order, in one pass over x, `(N, C, *spatial)`."""
        for unit, maps in self.walk(x):
            # A later unit may write in place into what it is given (ReLU): hand out a copy.
            yield unit.name, maps[-1].clone()

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
        return self.levels_of(self.walk(x))

    def levels_of(self, walk: Walk) -> tuple[Tensor, ...]:
        """The last map of each resolution of a walk, the finest first."""
        found: dict[tuple[int, ...], Tensor] = {}
        for unit, maps in walk:
            found.update(zip((shape.reduction for shape in unit.shapes), maps, strict=True))
        return tuple(found.values())

    def forward(self, x: Tensor) -> Tensor:
        """The last unit's feature map of x, `(N, C, *spatial)`."""
        for _, maps in self.walk(x):
            last = maps[-1]
        return last

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
        raise unfit(self, tuple(spatial))

    def try_shape(self, spatial: tuple[int, ...]) -> tuple[int, ...] | None:
        """As `output_shape`, but None for an input that is too small."""
        shapes = map_shapes(self, spatial)
        return shapes[-1] if shapes else None

    def measure(self) -> None:
        """Find the units' channels and reductions anew, after their modules were changed."""
        self.units = measured(self)


def _to_source_keys(_: nn.Module, state: dict[str, Tensor], prefix: str, *__: object) -> None:
    """Name the tensors as the source network does.

    They lie one level down since a network's own names (`features`, `blocks`) are attributes here.
    """
    for key in [key for key in state if key.startswith(f"{prefix}net.")]:
        state[prefix + key.removeprefix(f"{prefix}net.")] = state.pop(key)


def _from_source_keys(_: nn.Module, state: dict[str, Tensor], prefix: str, *__: object) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}net.{key.removeprefix(prefix)}"] = state.pop(key)

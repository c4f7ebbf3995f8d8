"""Where each family's units lie, as data: the only place that knows how networks name their parts.

To add a family: write one `Layout` and enter it in `LAYOUTS` under the package and the class name
of the source network (libraries share class names). `{n}` counts a network's blocks from 1, `{i}`
from 0. Where the resolution changes inside a unit (before a stem's pool), name its pieces apart:
the map after each piece can be had, so a decoder gets both. No unit may begin with an activation in
place, which would write into the map before it. Every module of the source network must be named by
its layout, in a section or as part of the head, so a variant with an unknown part is refused, not
cut short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn

from ttl_lightning.errors import ConfigError, UnknownNameError


class Shape(NamedTuple):
    """What is known of a map for inputs of any size.

    Attributes:
        channels: of the map.
        reduction: pixels of the input for one of the map's, along each axis: `(4, 4)`, for volumes
            `(2, 4, 4)`.
    """

    channels: int
    reduction: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """One step of a backbone: the named modules, applied one after the other.

    Attributes:
        name: `stem`, `block2.3` or `tail`.
        pieces: the modules' paths in the source network.
        concat: append the result to the input's channels (DenseNet) instead of replacing the input.
        shapes: of the map after each piece; a `Backbone` fills them in.
    """

    name: str
    pieces: tuple[str, ...]
    concat: bool = False
    shapes: tuple[Shape, ...] = field(default=(), compare=False)

    @property
    def channels(self) -> int:
        """Channels of the unit's map."""
        return self.shapes[-1].channels

    @property
    def reduction(self) -> tuple[int, ...]:
        """Pixels of the input for one of the unit's map, along each axis."""
        return self.shapes[-1].reduction

    @property
    def section(self) -> str:
        """The part of the network that the unit belongs to: `stem`, `block2`, `tail`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class One:
    """All these modules together are one unit; those that a variant lacks are left out."""

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Each:
    """Every child of a container is a unit; `opening` are modules that belong to its first one."""

    container: str
    opening: tuple[str, ...] = ()
    concat: bool = False


@dataclass(frozen=True, slots=True)
class Runs:
    """A flat container: a unit starts at each `starts` module, a block ends with an `ends` one."""

    container: str
    starts: str
    ends: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A family's sections, input side first.

    Attributes:
        family: what an error calls it.
        head: what follows the map.
        module: timm's module of the family, None for a network that timm does not have.
    """

    family: str
    head: tuple[str, ...]
    module: str | None = None
    block: tuple[Each | One, ...] = ()
    stem: One = One(())
    tail: One = One(())
    runs: Runs | None = None


LAYOUTS = {
    "timm.ResNet": Layout(
        family="ResNet, ResNeXt, SE-ResNet, Wide ResNet",
        module="resnet",
        stem=One(("conv1", "bn1", "act1", "maxpool")),
        block=(Each("layer{n}"),),
        head=("global_pool", "fc"),
    ),
    "timm.DenseNet": Layout(
        family="DenseNet",
        module="densenet",
        stem=One(
            (
                *(f"features.{kind}{k}" for k in range(3) for kind in ("conv", "norm")),
                "features.pool0",
            )
        ),
        block=(Each("features.denseblock{n}", concat=True), One(("features.transition{n}",))),
        tail=One(("features.norm5",)),
        head=("global_pool", "head_drop", "classifier"),
    ),
    "timm.EfficientNet": Layout(
        family="EfficientNet (lite too), MobileNetV2",
        module="efficientnet",
        stem=One(("conv_stem", "bn1")),
        block=(Each("blocks.{i}"),),
        tail=One(("conv_head", "bn2")),
        head=("global_pool", "classifier"),
    ),
    "timm.MobileNetV3": Layout(
        family="MobileNetV3",
        module="mobilenetv3",
        stem=One(("conv_stem", "bn1")),
        block=(Each("blocks.{i}"),),
        head=("global_pool", "conv_head", "norm_head", "act2", "flatten", "classifier"),
    ),
    "timm.VGG": Layout(
        family="VGG (with and without BatchNorm)",
        module="vgg",
        runs=Runs("features", starts="Conv2d", ends="MaxPool2d"),
        head=("pre_logits", "head"),
    ),
    "timm.ConvNeXt": Layout(
        family="ConvNeXt",
        module="convnext",
        stem=One(tuple(f"stem.{k}" for k in range(4))),
        block=(Each("stages.{i}.blocks", opening=("stages.{i}.downsample",)),),
        tail=One(("norm_pre",)),
        head=("head",),
    ),
    "timm.RegNet": Layout(
        family="RegNet",
        module="regnet",
        stem=One(("stem",)),
        block=(Each("s{n}"),),
        tail=One(("final_conv",)),
        head=("head",),
    ),
    "monai.ResNet": Layout(
        family="MONAI's ResNet",
        stem=One(("conv1", "bn1", "act", "maxpool")),
        block=(Each("layer{n}"),),
        head=("avgpool", "fc"),
    ),
    "monai.DenseNet121": Layout(
        family="MONAI's DenseNet121",
        stem=One(tuple(f"features.{kind}0" for kind in ("conv", "norm", "relu", "pool"))),
        # its layers concatenate by themselves
        block=(Each("features.denseblock{n}"), One(("features.transition{n}",))),
        tail=One(("features.norm5", "class_layers.relu")),
        head=("class_layers.pool", "class_layers.flatten", "class_layers.out"),
    ),
    "ttl_lightning.ResNeXt3D": Layout(
        family="ResNeXt3D",
        stem=One(("conv1", "bn1", "relu", "maxpool")),
        block=(Each("layer{n}"),),
        head=("avgpool", "fc"),
    ),
    "ttl_lightning.PENet": Layout(
        family="PENet",
        stem=One(("in_conv", "max_pool")),
        block=(Each("encoders.{i}.penet_blocks"),),
        head=("classifier",),
    ),
}


def layout_of(net: nn.Module) -> Layout:
    """The layout of a source network's family.

    Raises:
        UnknownNameError: if no layout describes the network's class.
    """
    kind = f"{type(net).__module__.partition('.')[0]}.{type(net).__name__}"
    if kind not in LAYOUTS:
        raise UnknownNameError(
            "network family",
            kind,
            (f"{name} ({layout.family})" for name, layout in LAYOUTS.items()),
            "To add one, describe where its units lie in ttl_lightning/models/backbones/layouts.py "
            "(LAYOUTS).",
        )
    return LAYOUTS[kind]


def units_of(net: nn.Module) -> tuple[Unit, ...]:
    """Split a source network into its units, input side first.

    Raises:
        UnknownNameError: if no layout describes the network's class.
        ConfigError: if the layout leaves out a part of this variant.
    """
    layout = layout_of(net)
    units = tuple(_units(net, layout))
    _check_complete(net, units, layout)
    return units


def _units(net: nn.Module, layout: Layout) -> Iterator[Unit]:
    if stem := _present(net, layout.stem.pieces):
        yield Unit("stem", stem)
    if layout.runs:
        yield from _runs(net, layout.runs)
    n = 1
    while block := tuple(_block(net, layout.block, n)):
        yield from block
        n += 1
    if tail := _present(net, layout.tail.pieces):
        yield Unit("tail", tail)


def _block(net: nn.Module, parts: tuple[Each | One, ...], n: int) -> Iterator[Unit]:
    k = 1
    for part in parts:
        if isinstance(part, One):
            rows = [_present(net, _at(part.pieces, n))]
        else:
            opening = _present(net, _at(part.opening, n))
            container = part.container.format(n=n, i=n - 1)
            rows = [(f"{container}.{child}",) for child in _children(net, container)]
            rows[:1] = [opening + row for row in rows[:1]]
        for pieces in filter(None, rows):
            yield Unit(f"block{n}.{k}", pieces, concat=isinstance(part, Each) and part.concat)
            k += 1


def _runs(net: nn.Module, runs: Runs) -> Iterator[Unit]:
    block, k, pieces = 1, 0, list[str]()
    for name, child in net.get_submodule(runs.container).named_children():
        kind = type(child).__name__
        if kind == runs.starts and pieces:
            yield Unit(f"block{block}.{k}", tuple(pieces))
            pieces = []
        k += kind == runs.starts
        pieces.append(f"{runs.container}.{name}")
        if kind == runs.ends:
            yield Unit(f"block{block}.{k}", tuple(pieces))
            block, k, pieces = block + 1, 0, []
    if pieces:
        yield Unit(f"block{block}.{k}", tuple(pieces))


def _at(paths: tuple[str, ...], n: int) -> tuple[str, ...]:
    return tuple(path.format(n=n, i=n - 1) for path in paths)


def _children(net: nn.Module, path: str) -> tuple[str, ...]:
    container = dict(net.named_modules()).get(path)
    return tuple(name for name, _ in container.named_children()) if container is not None else ()


def _present(net: nn.Module, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Those modules that there are and that do something."""
    modules = dict(net.named_modules())
    return tuple(p for p in paths if p in modules and not isinstance(modules[p], nn.Identity))


def _check_complete(net: nn.Module, units: tuple[Unit, ...], layout: Layout) -> None:
    known = (*layout.head, *(piece for unit in units for piece in unit.pieces))
    for name, module in net.named_modules():
        leaf = not any(True for _ in module.children()) and not isinstance(module, nn.Identity)
        if leaf and not any(name == path or name.startswith(f"{path}.") for path in known):
            raise ConfigError(
                f"the layout of {type(net).__name__} in "
                f"ttl_lightning/models/backbones/layouts.py does not place {name!r}, which this "
                "variant has; add it to a section or to the head."
            )

"""A source network as units: by its layout, else by timm's own interface to its stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import NamedTuple

from torch import nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.families import LAYOUTS
from ttl_lightning.models.backbones.flows import Flow
from ttl_lightning.models.backbones.generic import generic_units
from ttl_lightning.models.backbones.layouts import Layout, units_of
from ttl_lightning.models.backbones.units import Unit

GROUP = "ttl_lightning.layouts"
"""Entry points of packages that add layouts."""


class Split(NamedTuple):
    """What a network falls into.

    Attributes:
        family: what it is, for people.
        flow: what passes from unit to unit.
        units: input side first.
        head: paths of what follows them.
    """

    family: str
    flow: Flow
    units: tuple[Unit, ...]
    head: tuple[str, ...]


def split_network(name: str, net: nn.Module, size: tuple[int, ...] | None) -> Split:
    """Find a network's units.

    Args:
        name: of the network, for errors.
        net: the source network.
        size: (C, H, W) of an image that it takes; None for volumes.

    Raises:
        ConfigError: if neither a layout nor timm's own interface tells them, or a layout leaves out
            a part of this variant.
    """
    layout = layout_of(net)
    if layout is not None:
        return Split(layout.family, layout.flow, units_of(net, layout), layout.head)
    if size is None:
        raise ConfigError(
            f"no layout describes {_kind(net)}: add one to "
            "ttl_lightning/models/backbones/families.py (LAYOUTS), or give the paths of its units "
            "to ttl.Backbone.from_module."
        )
    flow, units = generic_units(name, net, size)
    return Split(type(net).__name__, flow, units, unplaced(net, units))


def unplaced(net: nn.Module, units: Sequence[Unit]) -> tuple[str, ...]:
    """Keys of a network's tensors that belong to none of its units."""
    return tuple(key for key in net.state_dict() if not any(unit.owns(key) for unit in units))


def layout_of(net: nn.Module) -> Layout | None:
    """The layout of a network's class, this project's or another package's."""
    return LAYOUTS.get(_kind(net)) or _others().get(_kind(net))


def _kind(net: nn.Module) -> str:
    return f"{type(net).__module__.partition('.')[0]}.{type(net).__name__}"


@cache
def _others() -> dict[str, Layout]:
    """The layouts of installed packages.

    Raises:
        ConfigError: if one is no layout.
    """
    found = {}
    for point in entry_points(group=GROUP):
        layout = point.load()
        if not isinstance(layout, Layout):
            raise ConfigError(f"the entry point {point.value} of {GROUP} is no Layout: {layout!r}.")
        found[point.name] = layout
    return found

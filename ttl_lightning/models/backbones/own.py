"""Networks of users: registered, of an installed package, or named by the path of what makes them.

What makes a network is called with the number of input channels where it takes `in_channels`,
`in_chans` or one argument, and gives a `Backbone`, or a module that a layout describes. Packages
name theirs by the entry point group `ttl_lightning.backbones`.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any, cast

from torch import nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.named import NAMED
from ttl_lightning.models.backbones.splitting import split_network
from ttl_lightning.models.backbones.volumetric import IMAGENET, Statistics, of_channels

GROUP = "ttl_lightning.backbones"

Maker = Callable[..., nn.Module]

_REGISTERED: dict[str, Maker] = {}


def register_backbone(name: str, make: Maker) -> None:
    """Let `create_backbone` and `backbone=` know a network of yours.

    Args:
        name: what it is called.
        make: of a number of input channels, a `Backbone`, or a module that a layout describes.

    Raises:
        ConfigError: if timm has a network of this name.
    """
    import timm

    if timm.is_model(name):
        raise ConfigError(f"timm has a network {name!r}: call yours otherwise.")
    _REGISTERED[name] = make


def own_maker(name: str) -> Maker | None:
    """What makes a user's network; None if there is none of this name that the user has asked for.

    A path is imported only if it was named in the command (`NAMED`): what is stored in a run's
    folder may be anyone's, and runs no code.

    Raises:
        ConfigError: if it cannot be imported.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in _installed():
        return cast(Maker, _installed()[name].load())
    if not name or name not in os.environ.get(NAMED, "").split(","):
        return None
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"backbone={name} cannot be imported: {error}.") from error
    if not callable(found):
        raise ConfigError(f"backbone={name}: {module} has no function or class {attribute}.")
    return cast(Maker, found)


def own_backbone(name: str, make: Maker, in_channels: int) -> tuple[Backbone, nn.Module]:
    """A user's network as a backbone, and the network.

    Raises:
        ConfigError: if it fails to be made, or is neither a `Backbone` nor described by a layout.
    """
    try:
        net = _called(make, in_channels)
    except Exception as error:
        raise ConfigError(
            f"backbone={name}: making it for {in_channels} channels failed: "
            f"{type(error).__name__}: {error}."
        ) from error
    if isinstance(net, Backbone):
        net.name = name
        return net, net.net
    if not isinstance(net, nn.Module):
        raise ConfigError(f"backbone={name} gives a {type(net).__name__}, not a module.")
    split = split_network(name, net, None)
    three = any(isinstance(module, nn.Conv3d) for module in net.modules())
    mean, std = (of_channels(values, in_channels) for values in IMAGENET)
    dims = 3 if three else 2
    return Backbone(name, net, split.units, in_channels, mean, std, dims, split.flow), net


def own_statistics(name: str, make: Maker) -> Statistics:
    """The pixels that a user's network states, of colour if it takes it.

    Raises:
        ConfigError: as `own_backbone`.
    """
    try:
        backbone, _ = own_backbone(name, make, 3)
    except ConfigError:
        backbone, _ = own_backbone(name, make, 1)
    return backbone.mean, backbone.std


def _called(make: Maker, in_channels: int) -> nn.Module:
    """What it makes for a number of channels, which it may call otherwise or not ask for."""
    parameters = inspect.signature(make).parameters
    for key in ("in_channels", "in_chans"):
        if key in parameters:
            return make(**{key: in_channels})
    first = next(iter(parameters.values()), None)
    if first is not None and first.default is first.empty and first.kind != first.VAR_KEYWORD:
        return make(in_channels)
    return cast("Callable[[], nn.Module]", make)()


@cache
def _installed() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}

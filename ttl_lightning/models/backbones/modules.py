"""Units of a network that nobody has described, by the paths that its owner gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.models.backbones.flows import MAPS
from ttl_lightning.models.backbones.units import Unit

NAME = re.compile(r"stem|tail|block[1-9]\d*(\.[1-9]\d*)?")


def as_units(
    net: nn.Module, given: Mapping[str, Sequence[str]] | Sequence[Sequence[str]]
) -> tuple[Unit, ...]:
    """Paths as units.

    Raises:
        ConfigError: if there are none, or a name is none that a cutoff can have.
        UnknownNameError: if the network has no such module.
    """
    named = (
        given if isinstance(given, Mapping) else {f"block{n}.1": u for n, u in enumerate(given, 1)}
    )
    if not named:
        raise ConfigError("units must name one unit or more.")
    modules = dict(net.named_modules())
    units = []
    for name, paths in named.items():
        if not NAME.fullmatch(name):
            raise ConfigError(f"a unit is called stem, block1.2 or tail, not {name!r}.")
        pieces = (paths,) if isinstance(paths, str) else tuple(paths)
        for path in pieces:
            if path not in modules or not path:
                raise UnknownNameError("module", path, (one for one in modules if one))
        full = name if "." in name or not name.startswith("block") else f"{name}.1"
        units.append(Unit(full, pieces))
    return tuple(units)


@torch.no_grad()
def check_chain(net: nn.Module, units: Sequence[Unit], x: Tensor) -> None:
    """Demand that the modules one after the other give what they give in the network itself.

    Raises:
        ConfigError: naming the first module that is given something else, or is not used.
    """
    paths = [piece for unit in units for piece in unit.pieces]
    seen: dict[str, Any] = {}

    def keep(path: str, *given: Any) -> None:  # noqa: ANN401 - of a hook
        if isinstance(given[-1], Tensor):
            seen[path] = given[-1].clone()

    handles = [net.get_submodule(path).register_forward_hook(partial(keep, path)) for path in paths]
    was_training = net.training
    net.eval()
    try:
        net(x)
        theirs = dict(seen)
        seen.clear()  # and what the units give by themselves
        for _ in MAPS.walk(net, units, x):
            pass
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{type(net).__name__} or its units cannot take inputs of {tuple(x.shape)}: {error}. "
            "Give an example that it takes."
        ) from error
    finally:
        net.train(was_training)
        for handle in handles:
            handle.remove()
    for before, path in pairwise(["the input", *paths]):
        if path not in theirs:
            raise ConfigError(f"{type(net).__name__} does not use its module {path}.")
        if not torch.equal(theirs[path], seen[path]):
            raise ConfigError(
                f"{type(net).__name__} gives {path} something else than what {before} gave: what "
                "lies between must be in a unit, and a unit must be applied by itself."
            )

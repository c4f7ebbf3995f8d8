"""Which networks there are, and what each falls into: what the `backbones` command lists."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from ttl_lightning.errors import TTLError, UnknownNameError
from ttl_lightning.models.backbones.factory import list_backbones, planar_network
from ttl_lightning.models.backbones.splitting import split_network
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC

EXACT, GENERIC, NONE = "exact", "generic", "none"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A network.

    Attributes:
        family: as its layout calls it, or its class.
        cutoffs: names of its units.
        kind: "exact" by a layout, "generic" by timm's own interface, which knows stages only, or
            "none".
        params: of the network with its head.
        reason: why it has no cutoffs.
    """

    name: str
    family: str
    cutoffs: tuple[str, ...]
    kind: str
    params: int = 0
    reason: str = ""


def matching(patterns: Sequence[str]) -> list[str]:
    """Names of networks by patterns such as `vit_*`; without any, those with published weights.

    Raises:
        UnknownNameError: if a pattern fits none.
    """
    import timm

    names = list_backbones()
    if not patterns:
        published = {name.partition(".")[0] for name in timm.list_pretrained()}
        return [name for name in names if name in published or name in VOLUMETRIC]
    found: dict[str, None] = {}
    for pattern in patterns:
        fits = fnmatch.filter(names, pattern)
        if not fits:
            raise UnknownNameError("backbone", pattern, names)
        found.update(dict.fromkeys(fits))
    return list(found)


def survey(names: Sequence[str]) -> Iterator[Surveyed]:
    """Build each without values, and split it."""
    for name in names:
        try:
            yield _surveyed(name)
        except TTLError as error:
            yield Surveyed(name, "", (), NONE, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a network may fail to be built in any way
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            yield Surveyed(name, "", (), NONE, reason=reason)


def _surveyed(name: str) -> Surveyed:
    size = None
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # of names that timm has given up
        if name in VOLUMETRIC:
            net = VOLUMETRIC[name].make(1)
        else:
            net = planar_network(name, 3)
            size = tuple(cast(Any, net).pretrained_cfg["input_size"])
        split = split_network(name, net, size)
        if split.flow.generic:  # as a cut one is looked at when it is built
            split.flow.shell(net, split.units[: 1 + len(split.units) // 2])
    params = sum(parameter.numel() for parameter in net.parameters())
    kind = GENERIC if split.flow.generic else EXACT
    return Surveyed(name, split.family, tuple(unit.name for unit in split.units), kind, params)

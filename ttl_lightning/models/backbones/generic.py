"""Networks that no layout describes: timm's own interface to the maps of their stages.

`forward_intermediates` gives the map after each stage, or after each block of a transformer, and
takes none: a unit cannot be run by itself. Which parameters a unit has is found by what its map
depends on, in a pass that computes no values; what is cut off is checked by its numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.flows import Change, Flow, Net, States, Walk
from ttl_lightning.models.backbones.units import Unit

FEATURES, NORMED = "features", "normed"


@dataclass(frozen=True)
class Intermediates(Flow):
    """The maps that timm's network gives of itself.

    Attributes:
        name: of the network, for errors.
        size: (C, H, W) of an input, for which a cut is checked.
        places: of the units' maps among those that timm can give.
        tail: whether, and how, there is a map after the last stage: "features", "normed" or "".
    """

    name: str
    size: tuple[int, ...]
    places: tuple[int, ...]
    tail: str

    generic = True

    def shell(self, source: nn.Module, units: Sequence[Unit]) -> nn.Module:
        """The network with nothing in the place of what the units do not need.

        Raises:
            ConfigError: if its last map is not, number for number, what it was.
        """
        shell = _pruned(source, {path for unit in units for path in unit.paths})
        device = next(source.parameters()).device
        x = torch.randn(
            1, *self.size, generator=torch.Generator("cpu").manual_seed(0), device="cpu"
        )
        before, after = (self._last(net, units, x.to(device)) for net in (source, shell))
        if before is None or after is None or not _same(before, after):
            raise ConfigError(
                f"backbone={self.name} does not come apart at {units[-1].name}: no layout "
                "describes it, and cut there timm's own interface gives another map. Choose "
                "another cutoff."
            )
        return shell

    def walk(
        self,
        net: Net,
        units: Sequence[Unit],
        x: Tensor,
        change: Change | None = None,
        states: States | None = None,
    ) -> Walk:
        """Each unit with its map, in one pass, which timm's network computes in its own way.

        Raises:
            ConfigError: if a map before the last one shall be changed.
        """
        del states
        last = len(units) - 1
        for number, (unit, result) in enumerate(zip(units, self._maps(net, units, x), strict=True)):
            changed = change(unit, result) if change else result
            if changed is not result and number < last:
                raise ConfigError(
                    f"backbone={self.name} gives maps of its stages and takes none, so only its "
                    f"last one, of {units[-1].name}, can be looked into; cut it at {unit.name}."
                )
            yield unit, (changed,)

    def _maps(self, net: Net, units: Sequence[Unit], x: Tensor) -> Iterator[Tensor]:
        stages = sum(unit.section != "tail" for unit in units)
        places = list(self.places[:stages])
        options = {"indices": places, "output_fmt": "NCHW"}
        if stages == len(units):
            yield from net.forward_intermediates(
                x, **options, stop_early=True, intermediates_only=True
            )
            return
        if self.tail == FEATURES:
            final, maps = net.forward_intermediates(x, **options)
            yield from (*maps, final)
            return
        yield from net.forward_intermediates(x, **options, intermediates_only=True)
        options["indices"] = places[-1:]
        yield from net.forward_intermediates(x, **options, norm=True, intermediates_only=True)

    @torch.no_grad()
    def _last(self, net: nn.Module, units: Sequence[Unit], x: Tensor) -> Tensor | None:
        was_training = net.training
        net.eval()
        try:
            return list(self._maps(net, units, x))[-1]
        except (RuntimeError, AttributeError, TypeError, ValueError, IndexError):
            return None
        finally:
            net.train(was_training)


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two maps are equal; of those without values, whether their shapes are."""
    return one.shape == other.shape if one.is_meta else torch.equal(one, other)


def generic_units(
    name: str, net: nn.Module, size: tuple[int, ...]
) -> tuple[Intermediates, tuple[Unit, ...]]:
    """A network's units by timm's interface: `block1`, `block2`, … and, if there is one, the tail.

    Args:
        name: of the network, for errors.
        net: timm's.
        size: (C, H, W) of an input that it takes.

    Raises:
        ConfigError: if timm gives no maps of the network, or none that belong to parameters.
    """
    found = _dependencies(net, size)
    if not found:
        raise ConfigError(
            f"backbone={name}: no layout describes {type(net).__name__}, and timm's own interface "
            "gives no maps of it. ttl.Backbone.from_module takes it with the paths of its units."
        )
    places, units = [], list[Unit]()
    *stages, (tail, last) = found
    for place, (_, added) in enumerate(stages):
        if added:
            places.append(place)
            units.append(Unit(f"block{len(places)}.1", (), holds=_paths(net, added)))
    if tail and last:
        units.append(Unit("tail", (), holds=_paths(net, last)))
    return Intermediates(name, size, tuple(places), tail), tuple(units)


def _dependencies(net: nn.Module, size: tuple[int, ...]) -> list[tuple[str, set[str]]]:
    """Of each map, and of what follows the last one, the parameters that those before do without.

    Returns:
        pairs of "" and their names; the last one's first part says how the map is had, "" if there
        is none. Empty, if the network gives no maps.
    """
    result: list[tuple[str, set[str]]] = []
    if not hasattr(net, "forward_intermediates"):
        return result
    for tail in (FEATURES, NORMED, ""):
        try:
            outs, given = _meta_maps(net, size, tail)
        except (RuntimeError, TypeError, AssertionError, ValueError, NotImplementedError):
            continue
        if not all(getattr(out, "ndim", 0) == 4 for out in outs[:-1]):
            return []
        if not isinstance(outs[-1], Tensor):
            continue
        seen: set[Any] = set()
        *added, last = [_leaves(out, given, seen) for out in outs]
        *maps, final = outs
        width = getattr(net, "num_features", maps[-1].shape[1])
        is_map = final.ndim == 4 and final.shape[1] in (width, maps[-1].shape[1])
        if is_map or not result:
            result = [*(("", one) for one in added), (tail if is_map else "", last)]
        if is_map:
            break
    return result


def _leaves(out: Tensor, given: Mapping[int, str], seen: set[Any]) -> set[str]:
    """Names of the parameters that a result depends on, but for what was seen before."""
    found, waiting = set[str](), [out.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable") and id(node.variable) in given:
            found.add(given[id(node.variable)])
        waiting += [function for function, _ in node.next_functions]
    return found


class _Taps(nn.Module):
    """What gives the maps, as a module, for torch to put other weights in."""

    def __init__(self, net: nn.Module, tail: str) -> None:
        super().__init__()
        self.net, self.tail = net, tail

    def forward(self, x: Tensor) -> list[Tensor]:
        net: Any = self.net
        final, maps = net.forward_intermediates(x, output_fmt="NCHW")
        if not self.tail:
            final = maps[-1]
        if self.tail == NORMED:
            final = net.forward_intermediates(
                x, indices=[len(maps) - 1], output_fmt="NCHW", norm=True, intermediates_only=True
            )[-1]
        return [*maps, final]


def _meta_maps(
    net: nn.Module, size: tuple[int, ...], tail: str
) -> tuple[list[Tensor], dict[int, str]]:
    """The maps, and what follows them, of a pass without values; names by the tensors' ids."""
    taps = _Taps(net, tail)
    meta = {
        key: torch.empty_like(value, device="meta", requires_grad=isinstance(value, nn.Parameter))
        for key, value in (*taps.named_parameters(), *taps.named_buffers())
    }
    was_training = net.training
    net.eval()
    try:
        x = torch.empty((2, *size), device="meta")
        outs: list[Tensor] = torch.func.functional_call(taps, meta, (x,))
    finally:
        net.train(was_training)
    # the tensors live as long as what was made of them
    return outs, {id(meta[f"net.{name}"]): name for name, _ in net.named_parameters()}


def _paths(net: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """The largest modules that hold these parameters and no others, and the parameters besides."""
    others = {name for name, _ in net.named_parameters()} - set(names)
    modules = [
        path
        for path, module in net.named_modules()
        if path
        and any(True for _ in module.parameters())
        and not any(name.startswith(f"{path}.") for name in others)
    ]
    largest = [p for p in modules if not any(p.startswith(f"{other}.") for other in modules)]
    loose = [n for n in names if not any(n.startswith(f"{path}.") for path in largest)]
    return (*largest, *sorted(loose))


def _pruned(module: nn.Module, kept: set[str], prefix: str = "") -> nn.Module:
    """A copy that shares what is kept, and has an identity where something was cut off."""
    twin = copy.copy(module)
    twin._modules, twin._parameters = {}, {}
    for name, child in module._modules.items():
        path = prefix + name
        if child is None or path in kept or not any(True for _ in child.parameters()):
            twin._modules[name] = child
        elif any(one.startswith(f"{path}.") for one in kept):
            twin._modules[name] = _pruned(child, kept, f"{path}.")
        else:
            twin._modules[name] = nn.Identity()
    for name, parameter in module._parameters.items():
        twin._parameters[name] = parameter if prefix + name in kept else None
    return twin

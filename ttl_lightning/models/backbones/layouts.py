"""How a family's units are described, and a network split by it; `families.py` has the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.flows import MAPS, Flow
from ttl_lightning.models.backbones.units import Unit


@dataclass(frozen=True, slots=True)
class One:
    """All these modules together are one unit; those that a variant lacks are left out."""

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Each:
    """Every child of a container is a unit.

    Attributes:
        opening: modules that belong to the first one.
        closing: modules that belong to the last one.
    """

    container: str
    opening: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
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
        block: of a block of any number.
        blocks: or of each block the pieces of its units, where they follow no rule.
        runs: or of a flat network.
        flow: what passes from unit to unit.
        holds: what the stem needs besides, such as embeddings of positions.
    """

    family: str
    head: tuple[str, ...]
    block: tuple[Each | One, ...] = ()
    blocks: tuple[tuple[tuple[str, ...], ...], ...] = ()
    stem: One = One(())
    tail: One = One(())
    runs: Runs | None = None
    flow: Flow = MAPS
    holds: tuple[str, ...] = ()


def units_of(net: nn.Module, layout: Layout) -> tuple[Unit, ...]:
    """Split a source network into its units, input side first.

    Raises:
        ConfigError: if the layout leaves out a part of this variant.
    """
    units = tuple(_units(net, layout))
    _check_complete(net, units, layout)
    return units


def _units(net: nn.Module, layout: Layout) -> Iterator[Unit]:
    if stem := _present(net, layout.stem.pieces):
        yield Unit("stem", stem, holds=_held(net, layout.holds))
    for number, units in enumerate(layout.blocks, start=1):
        for k, pieces in enumerate(units, start=1):
            yield Unit(f"block{number}.{k}", pieces)
    if layout.runs:
        yield from _runs(net, layout.runs)
    n = 1
    before: tuple[Unit, ...] = ()
    while block := tuple(_block(net, layout.block, n)):
        if [unit.pieces for unit in block] == [unit.pieces for unit in before]:
            raise ConfigError(
                f"the layout of {layout.family} names {block[0].pieces[0]!r} for every block: its "
                "paths must have the block's number, {n} from 1 or {i} from 0."
            )
        yield from block
        before, n = block, n + 1
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
            closing = _present(net, _at(part.closing, n))
            rows[-1:] = [row + closing for row in rows[-1:]]
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


def _held(net: nn.Module, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Those modules and parameters that there are."""
    known = {*dict(net.named_modules()), *dict(net.named_parameters())}
    return tuple(path for path in paths if path in known)


def _check_complete(net: nn.Module, units: tuple[Unit, ...], layout: Layout) -> None:
    known = (*layout.head, *(path for unit in units for path in unit.paths))
    leaves = (
        name
        for name, module in net.named_modules()
        if not any(True for _ in module.children()) and not isinstance(module, nn.Identity)
    )
    for name in (*leaves, *dict(net.named_parameters())):
        if not any(name == path or name.startswith(f"{path}.") for path in known):
            raise ConfigError(
                f"the layout of {type(net).__name__} in "
                f"ttl_lightning/models/backbones/families.py does not place {name!r}, which this "
                "variant has; add it to a section or to the head."
            )

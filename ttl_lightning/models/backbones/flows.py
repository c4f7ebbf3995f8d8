"""How values pass from unit to unit, and which map of each a reader sees.

Most networks pass maps on, `(N, C, *spatial)`. Transformers pass on tokens, of which some are no
places in the image, or maps whose channels come last. A `Flow` knows it, so that nothing else does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ttl_lightning.models.backbones.units import Unit

Net = Any
"""timm's network, of whose attributes no type tells."""
State = Any
"""What units pass on: a map, or `Tokens`."""
Change = Callable[[Unit, Tensor], Tensor]
States = Callable[[nn.Module, Unit, State], list[State]]
Walk = Iterator[tuple[Unit, tuple[Tensor, ...]]]


class Flow:
    """Maps that each module takes from the one before it."""

    generic = False
    """Whether the units are those of timm's own interface, which gives maps and takes none."""
    channels_last = False
    """Whether a transformer's linear layers work on what is passed on."""

    def shell(self, source: nn.Module, units: Sequence[Unit]) -> nn.Module:
        """A module that holds what the units need of a source network, under its own paths."""
        shell = self._empty(source)
        for path in dict.fromkeys(path for unit in units for path in unit.paths):
            _place(shell, path, at(source, path))
        return shell

    def walk(
        self,
        net: nn.Module,
        units: Sequence[Unit],
        x: State,
        change: Change | None = None,
        states: States | None = None,
    ) -> Walk:
        """Each unit with its maps, `(N, C, *spatial)`, one after each piece, in one pass over x.

        Args:
            net: as `shell` gives it.
            units: the first ones of the network, or those that follow one another.
            x: the network's input, or what `passed` gave.
            change: gives what takes the place of a unit's last map before the pass goes on.
            states: computes a unit in another way than `states` does.
        """
        compute, state = states or self.states, x
        for unit in units:
            found = compute(net, unit, state)
            maps = [self.as_map(net, each) for each in found]
            state = found[-1]
            if change:
                changed = change(unit, maps[-1])
                if changed is not maps[-1]:
                    state, maps[-1] = self.with_map(net, state, changed), changed
            yield unit, tuple(maps)

    def states(self, net: nn.Module, unit: Unit, state: State) -> list[State]:
        """What is passed on after each of a unit's pieces."""
        out, states = state, []
        for piece in unit.pieces:
            out = self.run(net, piece, out)
            states.append(torch.cat([state, out], 1) if unit.concat else out)
        return states

    def passed(self, net: nn.Module, units: Sequence[Unit], x: Tensor) -> State:
        """What the last of the network's first units passes on; `walk` goes on from it."""
        state: Any = x
        for unit in units:
            state = self.states(net, unit, state)[-1]
        return state

    def run(self, net: nn.Module, path: str, state: State) -> State:
        """Apply one module to what the one before it passed on."""
        return net.get_submodule(path)(state)

    def values(self, state: State) -> Tensor:
        """The part of what is passed on that each sample has its own of, (N, …)."""
        return cast(Tensor, state)

    def with_values(self, state: State, values: Tensor) -> State:
        """What is passed on, of other samples."""
        del state
        return values

    def as_map(self, net: nn.Module, state: State) -> Tensor:
        """The map in what is passed on, `(N, C, *spatial)`."""
        del net
        return cast(Tensor, state)

    def with_map(self, net: nn.Module, state: State, changed: Tensor) -> State:
        """What is passed on, with another map in it."""
        del net, state
        return changed

    def _empty(self, source: nn.Module) -> nn.Module:
        """What the paths are placed in."""
        del source
        return nn.Module()


class ChannelsLast(Flow):
    """Maps `(N, H, W, C)`, as Swin passes them on."""

    channels_last = True

    def as_map(self, net: nn.Module, state: Tensor) -> Tensor:
        """Channels first."""
        del net
        return state.permute(0, 3, 1, 2)

    def with_map(self, net: nn.Module, state: Tensor, changed: Tensor) -> Tensor:
        """Channels last."""
        del net, state
        return changed.permute(0, 2, 3, 1)


class Tokens(NamedTuple):
    """What transformers pass on.

    Attributes:
        values: (N, tokens, C); those of places in the image come last, row by row.
        grid: rows and columns of these.
        context: what every block takes besides, such as rotary position embeddings.
    """

    values: Tensor
    grid: tuple[int, int]
    context: Any = None


class PlainTokens(Flow):
    """Tokens of a ViT; of timm's network its own embedding of positions is called."""

    channels_last = True

    def _empty(self, source: nn.Module) -> nn.Module:
        # of the source's own class, whose methods embed the positions
        shell = copy.copy(source)
        shell._modules, shell._parameters, shell._buffers = {}, {}, {}
        return shell

    def run(self, net: Net, path: str, state: State) -> Tokens:
        """Apply one module; of an image the patches are embedded, with their positions."""
        if path == "patch_embed":
            return self.embedded(net, state)
        return cast(Tokens, state._replace(values=self.through(net, path, state)))

    def embedded(self, net: Net, x: Tensor) -> Tokens:
        """The tokens that the first block takes, but for a norm before it."""
        grid = net.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
        return Tokens(net._pos_embed(net.patch_embed(x)), grid)

    def through(self, net: Net, path: str, state: Tokens) -> Tensor:
        """The values after a block, or a norm."""
        return cast(Tensor, net.get_submodule(path)(state.values))

    def values(self, state: Tokens) -> Tensor:
        """The tokens."""
        return state.values

    def with_values(self, state: Tokens, values: Tensor) -> Tokens:
        """Other samples' tokens; all that units take beside them is of the network."""
        return state._replace(values=values)

    def as_map(self, net: Net, state: Tokens) -> Tensor:
        """The tokens of places, as a map."""
        places = state.values[:, self.extra(net) :]
        return places.transpose(1, 2).reshape(len(places), -1, *state.grid)

    def with_map(self, net: Net, state: Tokens, changed: Tensor) -> Tokens:
        """The tokens of places from a map, the others as they are."""
        others = state.values[:, : self.extra(net)]
        places = changed.flatten(2).transpose(1, 2)
        return state._replace(values=torch.cat([others, places], 1))

    def extra(self, net: Net) -> int:
        """Tokens that are no places."""
        return int(net.num_prefix_tokens)


class RotaryTokens(PlainTokens):
    """Tokens of EVA and its relatives, whose blocks are given rotary position embeddings."""

    def embedded(self, net: Net, x: Tensor) -> Tokens:
        """The tokens, with the embeddings that the blocks take."""
        grid = net.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
        values, rope = net._pos_embed(net.patch_embed(x))
        return Tokens(values, grid, rope)

    def through(self, net: Net, path: str, state: Tokens) -> Tensor:
        """The values after a block, or a norm."""
        module = net.get_submodule(path)
        if not path.startswith("blocks."):
            return cast(Tensor, module(state.values))
        rope = state.context
        if rope is not None and getattr(net, "rope_mixed", False):  # each depth has its own
            rope = rope[int(path.removeprefix("blocks."))]
        return cast(Tensor, module(state.values, rope=rope))


class BeitTokens(PlainTokens):
    """Tokens of BEiT, whose blocks may share one bias of relative positions."""

    def embedded(self, net: Net, x: Tensor) -> Tokens:
        """The tokens, with the bias."""
        grid = net.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
        patches = net.patch_embed(x)
        values = torch.cat((net.cls_token.expand(len(patches), -1, -1), patches), 1)
        values = net.pos_drop(values if net.pos_embed is None else values + net.pos_embed)
        return Tokens(values, grid, net.rel_pos_bias() if net.rel_pos_bias is not None else None)

    def through(self, net: Net, path: str, state: Tokens) -> Tensor:
        """The values after a block, or a norm."""
        module = net.get_submodule(path)
        if not path.startswith("blocks."):
            return cast(Tensor, module(state.values))
        return cast(Tensor, module(state.values, shared_rel_pos_bias=state.context))


class PyramidTokens(PlainTokens):
    """Tokens of a PVT, whose stages begin with an embedding of the map before them."""

    def _empty(self, source: nn.Module) -> nn.Module:
        del source
        return nn.Module()

    def run(self, net: Net, path: str, state: State) -> Tokens:
        """Apply one module."""
        module, kind = net.get_submodule(path), path.rpartition(".")[2]
        if kind in ("patch_embed", "downsample"):
            before = state if isinstance(state, Tensor) else self.as_map(net, state)
            embedded = module(before)
            return Tokens(embedded.flatten(1, 2), tuple(embedded.shape[1:3]))
        given = (state.values,) if kind == "norm" else (state.values, state.grid)
        return cast(Tokens, state._replace(values=module(*given)))

    def as_map(self, net: Net, state: Tokens) -> Tensor:
        """The tokens as a map; it lies in memory as timm's does, or the next sums would differ."""
        return super().as_map(net, state).contiguous()

    def extra(self, net: Net) -> int:
        """None."""
        del net
        return 0


MAPS, CHANNELS_LAST = Flow(), ChannelsLast()
PLAIN_TOKENS, ROTARY_TOKENS = PlainTokens(), RotaryTokens()
BEIT_TOKENS, PYRAMID_TOKENS = BeitTokens(), PyramidTokens()


def at(source: nn.Module, path: str) -> nn.Module | nn.Parameter:
    """A module of a network, or a parameter, by its path."""
    parent, _, leaf = path.rpartition(".")
    return cast("nn.Module | nn.Parameter", getattr(source.get_submodule(parent), leaf))


def _place(root: nn.Module, path: str, what: nn.Module | nn.Parameter) -> None:
    """Register a module or a parameter under its path, in plain containers."""
    *parents, leaf = path.split(".")
    for parent in parents:
        if parent not in root._modules:
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    if isinstance(what, nn.Parameter):
        root.register_parameter(leaf, what)
    else:
        root.add_module(leaf, what)

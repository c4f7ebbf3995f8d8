"""What frozen units give for inputs that come again, computed once, so that the rest is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ttl_lightning.models.strategies.base import TransferModel

# Keeping pays where computing takes so many times as long as copying to and fro: the maps of a
# stem are large, and its one convolution is fast.
PAYS = 2.0

Key = tuple[str, int]


class FrozenFeatures:
    """A model's outputs, of which the frozen units' part is computed once an input.

    Args:
        model: with frozen units, which never change.
        most_bytes: what is kept at most, on the model's device; other inputs are computed anew.

    Attributes:
        bytes: what is kept.
        counts: inputs that are kept, by split.
    """

    def __init__(self, model: TransferModel, most_bytes: int) -> None:
        self._model, self._most = model, most_bytes
        self._kept: dict[Key, Tensor] = {}
        self._pays: bool | None = None
        # what the frozen units pass on, of no sample, and whether its channels lie last in memory
        self._empty: Any = None
        self._last = False
        self.bytes = 0
        self.counts: dict[str, int] = {}

    @staticmethod
    def fits(model: TransferModel) -> bool:
        """Whether a model has frozen units, and a pass can begin after them."""
        backbone = model.backbone
        begins = not backbone.flow.generic and model.head.needs == "last"
        return begins and bool(backbone.frozen_units)

    def __call__(self, x: Tensor, split: str, numbers: Tensor) -> Tensor:
        """The model's outputs of inputs (N, C, *spatial).

        Args:
            x: the inputs.
            split: of which they are.
            numbers: (N,), of each among those of the split.
        """
        backbone = self._model.backbone
        state = self._state(x, [(split, number) for number in numbers.tolist()])
        rest = backbone.units[len(backbone.frozen_units) :]
        last = backbone.flow.as_map(backbone.net, state)
        for _, maps in backbone.flow.walk(backbone.net, rest, state, states=backbone.states):
            last = maps[-1]
        return self._model.decoded((last,), x.shape[2:])

    def _state(self, x: Tensor, keys: Sequence[Key]) -> Any:  # noqa: ANN401 - the flow's own
        """What the frozen units pass on, of these inputs."""
        flow = self._model.backbone.flow
        new = [place for place, key in enumerate(keys) if key not in self._kept]
        if len(new) == len(keys):
            return self._computed(x, keys)
        old = [place for place, key in enumerate(keys) if key in self._kept]
        values = torch.stack([self._kept[keys[place]] for place in old])
        values = values.movedim(-1, 1) if self._last else values
        if new:
            computed = self._computed(x[new], [keys[place] for place in new])
            order = torch.tensor(old + new, device=x.device).argsort()
            values = torch.cat([values, flow.values(computed)])[order]
        return flow.with_values(self._empty, values)

    @torch.no_grad()
    def _computed(self, x: Tensor, keys: Sequence[Key]) -> Any:  # noqa: ANN401
        """The same, by the units; their values are kept where that pays."""
        backbone, begun = self._model.backbone, _now(x)
        state = backbone.flow.passed(backbone.net, backbone.frozen_units, x)
        if self._pays is None:  # the first pass of all takes longer than others: time another
            begun = _now(x)
            state = backbone.flow.passed(backbone.net, backbone.frozen_units, x)
        values, taken = backbone.flow.values(state), _now(x) - begun
        if self._empty is None:
            self._empty = backbone.flow.with_values(state, values[:0])
            self._last = not values.is_contiguous() and values.movedim(1, -1).is_contiguous()
        rows = values.movedim(1, -1) if self._last else values
        if self._pays is None:
            begun = _now(x)
            rows = rows.clone()
            self._pays = taken > 2 * PAYS * (_now(x) - begun)
        if self._pays:
            self._keep(rows, keys)
        return state

    def _keep(self, rows: Tensor, keys: Sequence[Key]) -> None:
        """Copy those that there is room for."""
        size = rows[0].nbytes
        room = (self._most - self.bytes) // size
        for key, row in zip(keys[:room], rows[:room].clone(), strict=True):
            if key not in self._kept:  # a batch may have a sample twice
                self._kept[key] = row
                self.bytes += size
                self.counts[key[0]] = self.counts.get(key[0], 0) + 1


def _now(x: Tensor) -> float:
    """The time, once what was begun on the device of x is done."""
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()

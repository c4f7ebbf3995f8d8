"""Which windows of neighbouring slices a study has, how they are labelled and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.samples import Integers, Labels
from ttl_lightning.data.transforms import Key, uniforms

_STREAM = 2**32  # seeds are below: added to one, it gives numbers other than the augmentation's


class Places(NamedTuple):
    """Where windows lie: position of the study in its split and first slice, each (N,)."""

    studies: Integers
    starts: Integers


@dataclass(frozen=True)
class WindowDraws:
    """How the windows of an epoch are drawn about the grid.

    Attributes:
        per_study: windows a study and epoch; None: each window of the grid once.
        jitter: how far a window may begin before or after its place, as a fraction of its length.
        abnormal_fraction: probability that a window lies about an abnormal slice of its study, if
            it has any, and not on the grid.
        seed: of the draws.
    """

    per_study: int | None = None
    jitter: float = 0.0
    abnormal_fraction: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Windows:
    """The windows of one split's studies.

    Attributes:
        slices: number of each study's slices, (n,).
        labels: of the studies, (n,) or (n, L).
        abnormal: each study's abnormal slices, ascending; None where it is not known which they
            are: then a window has its study's label.
        length: slices a window; a shorter study is one window.
        stride: slices from one window of the grid to the next, `length` at most.
        min_abnormal: abnormal slices that make a window positive, or all that the study has, if
            these are fewer.

    Source: PENet (Huang et al., npj Digital Medicine 2020): windows of 24 slices, positive from 4
        abnormal slices on; training windows are shifted by up to half their length.
    """

    slices: Integers
    labels: Labels
    abnormal: Sequence[Integers] | None
    length: int
    stride: int
    min_abnormal: int = 4

    @cached_property
    def grid(self) -> Places:
        """Every window of every study, in order; each slice is in one or more."""
        starts = [grid_starts(int(count), self.length, self.stride) for count in self.slices]
        numbers = [len(some) for some in starts]
        return Places(np.repeat(np.arange(len(starts)), numbers), np.concatenate(starts))

    def label(self, places: Places) -> Labels:
        """Labels of windows, in the form of the studies' labels."""
        if self.abnormal is None:
            return self.labels[places.studies]
        pairs = zip(places.studies, places.starts, strict=True)
        return np.array([self._is_positive(int(s), int(start)) for s, start in pairs], np.int64)

    def count(self, draws: WindowDraws) -> int:
        """Number of windows an epoch."""
        if draws.per_study is None:
            return len(self.grid.studies)
        return draws.per_study * len(self.slices)

    def draw(self, draws: WindowDraws, keys: Sequence[Key]) -> Places:
        """Windows of an epoch, each a function of (seed, epoch, index) alone.

        Args:
            draws: how.
            keys: (epoch, index), with indices below `count`.
        """
        u = uniforms(draws.seed + _STREAM, keys, 4)
        index = np.array([index for _, index in keys], np.int64)
        studies, starts = self._planned(draws.per_study, index, u[:, 0])
        if self.abnormal is not None:
            for i in np.flatnonzero(u[:, 1] < draws.abnormal_fraction):
                abnormal = self.abnormal[studies[i]]
                if len(abnormal):
                    starts[i] = abnormal[int(u[i, 2] * len(abnormal))] - self.length // 2
        most = int(draws.jitter * self.length)
        shift = (u[:, 3] * (2 * most + 1)).astype(np.int64) - most
        last = np.maximum(self.slices[studies] - self.length, 0)
        return Places(studies, np.clip(np.clip(starts, 0, last) + shift, 0, last))

    def _planned(
        self, per_study: int | None, index: Integers, u: NDArray[np.float64]
    ) -> tuple[Integers, Integers]:
        """Studies and places on the grid, which a study's draws share out evenly."""
        if per_study is None:
            return self.grid.studies[index], self.grid.starts[index]
        studies, turn = np.divmod(index, per_study)
        first = np.searchsorted(self.grid.studies, np.arange(len(self.slices) + 1))
        number = np.diff(first)[studies]
        place = first[studies] + ((turn + u) / per_study * number).astype(np.int64)
        return studies, self.grid.starts[place]

    def _is_positive(self, study: int, start: int) -> bool:
        assert self.abnormal is not None  # asked by label() alone
        abnormal = self.abnormal[study]
        inside = np.searchsorted(abnormal, [start, start + self.length])
        return bool(len(abnormal)) and inside[1] - inside[0] >= min(
            self.min_abnormal, len(abnormal)
        )


def grid_starts(slices: int, length: int, stride: int) -> Integers:
    """First slices of a study's windows: every `stride` slices, and the last flush with the end."""
    last = max(slices - length, 0)
    return np.append(np.arange(0, last, stride), last).astype(np.int64)

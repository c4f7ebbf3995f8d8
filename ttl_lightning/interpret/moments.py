"""Covariances of feature maps, accumulated batch by batch: the activations are never stored."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ttl_lightning.errors import DataError, UnknownNameError

Grid = tuple[int, ...]
Key = tuple[str, Grid]  # one name's features at one grid

# Rows that are converted to float64 at a time: on a CPU as few as keep their products fast, since
# more take longer to find memory for than they save.
ROWS, GPU_ROWS = 512, 16_384
# Columns computed at a time of a product with itself, of which one triangle is enough.
COLUMNS = 128
POOLS: dict[int, Callable[[Tensor, Any], Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


@dataclass(frozen=True, slots=True, eq=False)
class PairMoments:
    """Covariances of two feature sets over the same samples, in float64; sums are divided by n.

    Attributes:
        n: number of samples; of maps, images × positions of the shared grid.
        xx: (p, p); a channel that does not vary has zeros here and in `xy`.
        xy: (p, q).
        yy: (q, q).
    """

    n: int
    xx: Tensor
    xy: Tensor
    yy: Tensor


class Moments:
    """Second moments of pairs of feature maps, in one pass over the images.

    Every position of a map is a sample. Where the maps of a pair differ in size, both are
    average-pooled to the smaller grid first. Accumulated in float64 on the maps' device (on the CPU
    for devices without float64) about the mean of the first rows, so that a large mean costs no
    digits: were that mean far off, the variance would be at least its error squared, times the
    first rows' share of all rows.

    Memory: 8 bytes × p × q a pair, and 8 × p × p a feature set and grid, whatever the number of
    images; besides, `ROWS` rows of each map (one image's at least) in float64.

    Args:
        pairs: names of the maps to relate. A name may be in many pairs, or twice in one.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = tuple(dict.fromkeys(pairs))
        self.images = 0
        self._shapes: dict[str, Grid] = {}  # (C, *spatial)
        self._eps: dict[str, float] = {}
        self._keys: dict[tuple[str, str], tuple[Key, Key]] = {}
        self._shifts: dict[Key, Tensor] = {}
        self._sums: dict[Key, Tensor] = {}
        # of a feature set with itself, the upper triangle alone is right
        self._products: dict[tuple[Key, Key], Tensor] = {}

    @torch.no_grad()
    def update(self, maps: Mapping[str, Tensor]) -> None:
        """Add a batch: maps of the same images, each `(N, C, *spatial)`; other names are ignored.

        Raises:
            UnknownNameError: if a map of the pairs is missing.
            DataError: if maps have unequal numbers of images, or shapes other than before.
        """
        images = self._check(maps)
        if not images:
            return
        on_cpu = next(iter(maps.values())).device.type == "cpu"
        sides = dict.fromkeys(key for pair in self._keys.values() for key in pair)
        for grid in dict.fromkeys(grid for _, grid in sides):
            names = [name for name, own in sides if own == grid]
            step = max(1, (ROWS if on_cpu else GPU_ROWS) // math.prod(grid))
            for start in range(0, images, step):
                parts = {name: _with_float64(maps[name][start : start + step]) for name in names}
                self._add({(name, grid): fold(x, grid) for name, x in parts.items()})
        self.images += images

    def merge(self, other: Moments) -> None:
        """Add what another accumulator saw, such as that of another process.

        Raises:
            DataError: if the pairs or the shapes of the maps differ.
        """
        if self.pairs != other.pairs:
            raise DataError(f"moments of {self.pairs} and of {other.pairs} cannot be merged.")
        if not other.images:
            return
        if not self.images:
            self.__dict__.update(copy.deepcopy(other.__dict__))
            return
        if self._shapes != other._shapes:
            raise DataError(
                f"moments of maps (channels, *spatial) {self._shapes} and {other._shapes} cannot "
                f"be merged."
            )
        # what the other summed about its own shifts is moved to these
        sums = {key: other._sums[key].to(own.device) for key, own in self._sums.items()}
        moved = {k: other._shifts[k].to(own.device) - own for k, own in self._shifts.items()}
        whole = {k: sums[k] + other.images * math.prod(k[1]) * moved[k] for k in sums}
        for (a, b), product in self._products.items():
            product += other._products[a, b].to(product.device)
            product += torch.outer(moved[a], whole[b]) + torch.outer(sums[a], moved[b])
        for key, total in self._sums.items():
            total += whole[key]
        self.images += other.images

    def pair(self, first: str, second: str) -> PairMoments:
        """What was accumulated of a pair, in the order asked for or the other one.

        A channel counts as constant where its standard deviation is below the rounding of its mean
        in the maps' own number format.

        Raises:
            UnknownNameError: if these were not asked for.
            DataError: if there are fewer than two samples, or values that are not finite.
        """
        if (second, first) in self.pairs and (first, second) not in self.pairs:
            turned = self.pair(second, first)
            return PairMoments(turned.n, turned.yy, turned.xy.T, turned.xx)
        if (first, second) not in self.pairs:
            known = [f"{a} {b}" for a, b in self.pairs]
            raise UnknownNameError("pair of maps", f"{first} {second}", known)
        a, b = self._keys.get((first, second), ((first, ()), (second, ())))
        n = self.images * math.prod(a[1])
        if n < 2:
            raise DataError(f"{first} and {second}: covariances need two samples, got {n}.")
        xx = self._variances(a, n)
        if a == b:
            return PairMoments(n, xx, xx, xx)
        yy = self._variances(b, n)
        xy = self._products[a, b] / n - torch.outer(self._sums[a] / n, self._sums[b] / n)
        xy[xx.diagonal() == 0] = 0
        xy[:, yy.diagonal() == 0] = 0
        return PairMoments(n, xx, xy, yy)

    def _check(self, maps: Mapping[str, Tensor]) -> int:
        names = dict.fromkeys(name for pair in self.pairs for name in pair)
        for name in names:
            if name not in maps:
                raise UnknownNameError("feature map", name, maps, "Moments of it were asked for.")
        counts = {name: len(maps[name]) for name in names}
        if len(set(counts.values())) > 1:
            raise DataError(f"the maps of a batch have unequal numbers of images: {counts}.")
        shapes = {name: tuple(maps[name].shape[1:]) for name in names}
        for name, shape in self._shapes.items():
            if shapes[name] != shape:
                raise DataError(
                    f"the maps of {name!r} (channels, *spatial) changed from {shape} to "
                    f"{shapes[name]} between batches."
                )
        images = next(iter(counts.values()), 0)
        if images and not self._shapes:
            self._begin(maps, shapes)
        return images

    def _begin(self, maps: Mapping[str, Tensor], shapes: dict[str, Grid]) -> None:
        for a, b in self.pairs:
            grid = shared_grid(shapes[a][1:], shapes[b][1:])
            self._keys[a, b] = (a, grid), (b, grid)
        self._shapes = shapes
        for name in shapes:
            kind = maps[name].dtype
            self._eps[name] = torch.finfo(kind if kind.is_floating_point else torch.float64).eps

    def _add(self, rows: dict[Key, Tensor]) -> None:
        """Add rows, (n, C), of all features at one grid."""
        if not rows.keys() <= self._shifts.keys():
            self._allocate(rows)
        shifted = {key: x - self._shifts[key] for key, x in rows.items()}  # float64 from here on
        for key, x in shifted.items():
            self._sums[key] += x.sum(0)
        for (a, b), product in self._products.items():
            if a not in shifted:
                continue
            x, y = shifted[a].T, shifted[b]
            for left in range(0, len(product), COLUMNS) if a == b else ():
                right = left + COLUMNS
                product[left:right, left:].addmm_(x[left:right], y[:, left:])
            if a != b:
                product.addmm_(x, y)

    def _allocate(self, rows: dict[Key, Tensor]) -> None:
        for key, x in rows.items():
            self._shifts[key] = x.mean(0, dtype=torch.float64)
            self._sums[key] = torch.zeros_like(self._shifts[key])
        own = [(key, key) for key in rows]
        asked = [keys for keys in self._keys.values() if keys[0] in rows]
        for a, b in dict.fromkeys(own + asked):
            self._products[a, b] = torch.outer(self._sums[a], self._sums[b])  # zeros

    def _variances(self, key: Key, n: int) -> Tensor:
        """Covariances of one feature set, with zeros for the channels that do not vary."""
        mean = self._sums[key] / n
        if not torch.isfinite(mean).all():
            raise DataError(f"the maps of {key[0]!r} have values that are not finite.")
        upper = self._products[key, key].triu()
        upper = upper / n - torch.outer(mean, mean).triu()
        rounding = 2 * self._eps[key[0]] * (self._shifts[key] + mean)
        constant = upper.diagonal() <= rounding.square()
        upper[constant] = 0
        upper[:, constant] = 0
        return upper + upper.triu(1).T


def shared_grid(first: Grid, second: Grid) -> Grid:
    """The smaller of two spatial sizes, in each dimension.

    Raises:
        DataError: if one is of an image and the other of a volume.
    """
    if len(first) != len(second):
        raise DataError(f"maps of spatial sizes {first} and {second} share no grid.")
    return tuple(map(min, first, second))


def fold(x: Tensor, grid: Grid) -> Tensor:
    """Make every position of a map a sample, average-pooling it to `grid` first if it is larger.

    Where the size is no multiple of the grid's, neighbouring windows overlap, as those of
    `adaptive_avg_pool2d` do.

    Args:
        x: `(N, C, *spatial)`.
        grid: the spatial size to pool to.

    Returns:
        (N × positions, C), image by image; pooled ones are float64.
    """
    if tuple(x.shape[2:]) != grid:
        x = POOLS[len(grid)](x.double(), grid)
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _with_float64(x: Tensor) -> Tensor:
    """On a device that has float64."""
    return x.cpu() if x.device.type == "mps" else x

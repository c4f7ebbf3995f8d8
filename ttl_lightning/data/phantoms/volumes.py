"""Chest-like volumes drawn from a seed: contrast-enhanced CT with emboli in the lungs' arteries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.phantoms.images import Array, label_of, ramp, smoothing
from ttl_lightning.data.phantoms.tubes import Grid, Tube, cover, make_grid, paint
from ttl_lightning.errors import check_number

SMALLEST = (8, 24, 24)
"""Fewest slices, rows and columns at which the largest arteries still fill a voxel."""

MAX_EMBOLI = 4
_CLOT, _NODE, _AIR = 60.0, 55.0, -1000.0  # Hounsfield units
_TALL, _THICKEST = 0.8, 0.1  # half the chest's height, and the thickest slice
_THINNEST = 0.014  # arteries below this radius are not drawn
_CLOTTED = 0.06  # neither emboli nor nodes go with arteries below this one
_TRIES = 5  # headings, of which an artery takes the first that stays in the lung
_WHOLE = 0.25  # share of emboli that fill the lumen
_COARSE = 9  # grid points a side of the smooth random field


class PhantomVolume(NamedTuple):
    """Voxels (S, H, W) int16 in Hounsfield units, label 0 or 1, emboli (S, H, W) bool.

    Slices run from feet to head, rows from front to back, columns from the patient's right to left.
    """

    voxels: NDArray[np.int16]
    label: int
    lesion_mask: NDArray[np.bool_]


class _Chest(NamedTuple):
    """What one volume's chest measures, in units of the grid."""

    wide: float
    deep: float
    fat: float  # thickness under the skin, as a fraction of the body
    apex: float  # height
    domes: tuple[float, float]  # height of the diaphragm, right and left
    gap: float  # half the distance between the lungs
    ribs: float  # distance between two ribs
    rib: float  # height of the first
    disc: float  # distance between two vertebrae
    bone: float  # Hounsfield units of the ribs

    def depth(self, y: Array, x: Array) -> Array:
        """0 in the body's axis, 1 on the skin."""
        across, along = np.abs(x) / self.wide, np.abs(y) / self.deep
        rim: Array = np.sqrt(across * across * np.sqrt(across) + along * along * np.sqrt(along))
        return rim

    def lung(self, z: Array, y: Array, x: Array, softness: float) -> Array:
        """Both lungs, 0 to 1."""
        side = np.abs(x)
        rise = np.maximum(z + 0.1, 0) / (self.apex + 0.1)
        cage = 0.80 * np.sqrt(np.maximum(1 - rise * rise, 0))
        apart = self.gap - 0.10 * ramp(-0.12 - y, 0.10)  # they nearly meet behind the breastbone
        dome = np.where(x < 0, *self.domes) - 1.1 * ((side - 0.4) ** 2 + y * y)
        inside = ramp(cage - self.depth(y, x), softness) * ramp(side - apart, softness)
        return inside * ramp(z - dome.astype(np.float32), softness)


def draw_volume(
    number: int,
    shape: tuple[int, int, int],
    difficulty: float = 0.5,
    seed: int = 0,
    *,
    balance: float = 0.5,
) -> PhantomVolume:
    """Draw one volume of the endless series of a seed.

    It depends on (seed, number) and on the options alone. Positives have one to four emboli, which
    replace the contrast agent within the mask and change nothing else: with `balance=0` the same
    volume is drawn without them. Both classes have nodes beside the arteries, as dark as emboli.

    Args:
        number: of the volume in its series.
        shape: slices, rows and columns. Fewer than 16 slices show the middle of the chest alone.
        difficulty: 0 (large, dark emboli) to 1 (barely there).
        seed: of the series.
        balance: fraction of positives, met to within one volume in every stretch of the series.

    Raises:
        ConfigError: naming the key that is out of range.
    """
    for axis, (given, least) in enumerate(zip(shape, SMALLEST, strict=True)):
        check_number(f"data.image_size[{axis}]", given, least, 4096, integer=True)
    check_number("data.difficulty", difficulty, 0, 1)
    check_number("data.balance", balance, 0, 1)
    label = int(label_of(np.array([number]), balance)[0])
    # one stream of random numbers each, so that emboli move neither the chest nor the noise
    body, clots, noise = np.random.default_rng((seed, number)).spawn(3)
    # few slices show a thinner part: thicker ones would step over arteries
    grid = make_grid(shape, min(_TALL, shape[0] * _THICKEST / 2))
    chest = _chest(body)
    volume = _tissue(grid, chest, body)
    for tube, value in _organs(body):
        paint(volume, grid, tube, value)
    arteries = _arteries(chest, body)
    for node in _nodes(arteries, body):
        paint(volume, grid, node, _NODE)
    contrast = body.uniform(290, 430)
    for tube in arteries:
        paint(volume, grid, tube, contrast)
    mask = np.zeros(shape, np.bool_)
    if label:
        _embolise(volume, mask, grid, arteries, contrast, 1 - difficulty, clots)
    return PhantomVolume(_expose(volume, body.uniform(12, 30), noise), label, mask)


def _chest(rng: np.random.Generator) -> _Chest:
    return _Chest(
        wide=rng.uniform(0.86, 0.94),
        deep=rng.uniform(0.64, 0.72),
        fat=rng.uniform(0.04, 0.09),
        apex=rng.uniform(0.72, 0.85),
        domes=(rng.uniform(-0.42, -0.30), rng.uniform(-0.50, -0.38)),
        gap=rng.uniform(0.15, 0.19),
        ribs=rng.uniform(0.19, 0.23),
        rib=rng.uniform(0, 0.2),
        disc=rng.uniform(0.13, 0.16),
        bone=rng.uniform(400, 650),
    )


def _tissue(grid: Grid, chest: _Chest, rng: np.random.Generator) -> Array:
    """Everything but tubes and balls, slice by slice: skin, muscle, bones, lungs, belly."""
    slices, rows, columns = (smoothing(_COARSE, len(axis)) for axis in grid[:3])
    coarse = rng.standard_normal((_COARSE,) * 3, dtype=np.float32)
    y, x, soft = grid.y[:, None], grid.x[None, :], grid.pixel / 2
    depth = chest.depth(y, x)
    inner = ramp(0.80 - depth, soft)
    shell = ramp(0.045 - np.abs(depth - 0.845), soft)
    wall = _AIR + ramp(1 - depth, soft) * (-100 - _AIR)
    wall += ramp(1 - chest.fat - depth, soft) * 150
    spine, canal = _spine(y, x, soft)
    volume = np.empty([len(axis) for axis in grid[:3]], np.float32)
    for z, weight, hu in zip(grid.z[:, None], slices, volume, strict=True):
        smooth = rows @ np.tensordot(weight, coarse, 1) @ columns.T
        lung = chest.lung(z, y, x, soft)
        hu[:] = wall + inner * (smooth * 12 - 10)
        # ribs fall from back to front
        turn = np.cos((z - chest.rib - 0.6 * y) / chest.ribs * (2 * np.pi))
        hu += shell * np.clip(turn * 2, 0, 1) * (chest.bone - hu)
        hu += inner * ramp(-0.3 - z, 0.05) * 60  # liver, spleen
        hu += lung * (-860 + 30 * smooth + 50 * y - hu)
        bone = 0.6 * chest.bone + 180 * np.clip(np.cos(z / chest.disc * (2 * np.pi)) * 3 + 2, -1, 0)
        hu += spine * (bone - hu)
        hu += canal * (30 - hu)
    return volume


def _spine(y: Array, x: Array, soft: float) -> tuple[Array, Array]:
    """Cross-sections of a vertebra and of the canal within it, 0 to 1."""
    across, along = x / 1.3, y - 0.38
    body = ramp(0.10 - np.sqrt(across * across + along * along), soft)
    along = y - 0.50
    behind = np.sqrt(x * x + along * along)
    arch, canal = ramp(0.085 - behind, soft), ramp(0.05 - behind, soft)
    process = ramp(np.float32(0.025) - np.abs(x), soft) * ramp(0.09 - np.abs(y - 0.58), soft)
    return np.maximum(body, np.maximum(arch, process)), canal


def _organs(rng: np.random.Generator) -> list[tuple[Tube, float]]:
    """Heart, aorta, upper vena cava, windpipe and main bronchi, each with its Hounsfield units."""

    def tube(start: tuple[float, ...], end: tuple[float, ...], radius: float, tip: float) -> Tube:
        return Tube(np.array(start, np.float32), np.array(end, np.float32), radius, tip)

    blood, size = rng.uniform(140, 190), rng.uniform(0.85, 1.15)
    cava = rng.uniform(0.04, 0.07)
    heart = tube((-0.22, -0.10, 0.0), (-0.36, -0.20, 0.24), 0.27 * size, 0.17 * size)
    chamber = tube((-0.24, -0.06, 0.08), (-0.34, -0.16, 0.24), 0.13 * size, 0.08 * size)
    return [
        (heart, blood - 40),
        (chamber, blood + 40),
        (tube((-0.8, 0.24, 0.10), (0.22, 0.20, 0.13), 0.075, 0.075), blood + 20),
        (tube((0.22, 0.20, 0.13), (0.26, -0.16, -0.05), 0.08, 0.09), blood + 20),
        (tube((0.26, -0.16, -0.05), (-0.10, -0.14, -0.02), 0.09, 0.10), blood + 20),
        (tube((-0.10, -0.10, -0.15), (0.7, -0.06, -0.13), cava, cava), rng.uniform(200, 450)),
        (tube((0.8, 0.08, 0.0), (0.14, 0.10, 0.0), 0.06, 0.055), _AIR),
        (tube((0.14, 0.10, 0.0), (0.02, 0.14, -0.24), 0.045, 0.03), _AIR),
        (tube((0.14, 0.10, 0.0), (0.04, 0.16, 0.24), 0.045, 0.03), _AIR),
    ]


def _arteries(chest: _Chest, rng: np.random.Generator) -> list[Tube]:
    """The trunk, its two main arteries, and their branches into the lungs."""

    def point(z: float, y: float, x: float) -> Array:
        return (np.array((z, y, x)) + rng.uniform(-0.02, 0.02, 3)).astype(np.float32)

    size = rng.uniform(0.9, 1.25)
    root, fork = point(-0.12, -0.24, 0.08), point(0.04, -0.02, 0.07)
    chamber = rng.uniform(0.08, 0.22)  # the right heart, filled as the arteries are
    tubes = [
        Tube(point(-0.26, -0.18, 0.0), root, chamber, 0.11 * size),
        Tube(root, fork, 0.11 * size, 0.12 * size),
    ]
    for side in (-1, 1):
        hilum = point(-0.02 + 0.05 * side, 0.02, side * (chest.gap + 0.11))
        tubes.append(Tube(fork, hilum, 0.12 * size, 0.11 * size))
        for rise, back in ((0.8, -0.2), (0.0, -0.4), (-0.6, 0.4)):  # the lobes
            _branch(tubes, chest, rng, hilum, np.array((rise, back, 0.6 * side)), 0.10 * size)
            _branch(tubes, chest, rng, hilum, np.array((rise, -back, side)), 0.045 * size)
    return tubes


def _branch(
    tubes: list[Tube],
    chest: _Chest,
    rng: np.random.Generator,
    start: Array,
    heading: NDArray[np.float64],
    radius: float,
) -> None:
    """Add an artery and, twice, what goes on from its end, until it thins out."""
    for _ in range(_TRIES):
        turned = heading / np.linalg.norm(heading) + rng.normal(0, 0.35, 3)
        end = (start + turned * (0.04 + radius * rng.uniform(1.6, 2.6))).astype(np.float32)
        z, y, x = end[:, None]
        if chest.lung(z, y, x, 0.02)[0] > 0.5:
            break
    else:
        return
    tubes.append(Tube(start, end, radius, 0.75 * radius))
    for share in (rng.uniform(0.65, 0.85), rng.uniform(0.45, 0.75)):
        if share * radius > _THINNEST:
            _branch(tubes, chest, rng, end, turned, share * radius)


def _nodes(arteries: list[Tube], rng: np.random.Generator) -> list[Tube]:
    """Balls that touch large arteries from without."""
    nodes = []
    large = [tube for tube in arteries if tube.radius > _CLOTTED]
    for _ in range(rng.integers(1, 5)):
        tube = large[rng.integers(len(large))]
        at, radius = rng.uniform(0.2, 0.9), rng.uniform(0.03, 0.06)
        away = _sideways(tube, rng) * (tube.radius + 0.8 * radius)
        centre = (tube.start + at * (tube.end - tube.start) + away).astype(np.float32)
        nodes.append(Tube(centre, centre, radius, radius))
    return nodes


def _sideways(tube: Tube, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random direction at right angles to a tube, of length 1."""
    along = (tube.end - tube.start).astype(np.float64)
    away = np.cross(along, rng.normal(size=3))
    unit: NDArray[np.float64] = away / np.linalg.norm(away)
    return unit


def _embolise(
    volume: Array,
    mask: NDArray[np.bool_],
    grid: Grid,
    arteries: list[Tube],
    contrast: float,
    ease: float,
    rng: np.random.Generator,
) -> None:
    """Replace contrast agent by clots, in place; the first lies in one of the largest arteries."""
    drop = (contrast - _CLOT) * (1 - 0.7 * (1 - ease) ** 2)
    for i in range(rng.integers(1, MAX_EMBOLI + 1)):
        least = 0.085 if i == 0 else _CLOTTED
        places = [tube for tube in arteries[2:] if tube.radius > least]
        tube = places[rng.integers(len(places))]
        whole = rng.random() < _WHOLE
        radius = tube.radius * (1 if whole else rng.uniform(0.5, 0.65) + 0.4 * ease * ease)
        along = (tube.end - tube.start) / np.linalg.norm(tube.end - tube.start)
        aside = _sideways(tube, rng) * max(tube.radius - radius, 0) * rng.uniform(0, 1)
        centre = tube.start + rng.uniform(0.2, 0.8) * (tube.end - tube.start) + aside
        reach = along * tube.radius * (rng.uniform(0.4, 0.8) + 2 * ease * ease)
        ends = [(centre + sign * reach).astype(np.float32) for sign in (-1, 1)]
        clot = Tube(ends[0], ends[1], radius, radius)
        box, lumen = cover(grid, tube)
        filled = cover(grid, clot, box)[1]
        within = (filled >= 0.5) & (lumen >= 0.5) & ~mask[box]
        volume[box] -= within * filled * lumen * drop
        mask[box] |= within


def _expose(volume: Array, spread: float, rng: np.random.Generator) -> NDArray[np.int16]:
    """Whole Hounsfield units with noise of the given standard deviation; slice by slice."""
    voxels = np.empty(volume.shape, np.int16)
    noise = np.empty(volume.shape[1:], np.float32)
    for hu, out in zip(volume, voxels, strict=True):
        rng.standard_normal(dtype=np.float32, out=noise)
        out[:] = np.rint(np.clip(hu + spread * noise, -1024, 3071))
    return voxels

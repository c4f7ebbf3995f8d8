from __future__ import annotations

import numpy as np
import pytest

from ttl_lightning.data.phantoms.tubes import Tube, cover, make_grid, paint

GRID = make_grid((20, 40, 30), 0.8)


def point(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_grid_holds_voxel_centres() -> None:
    np.testing.assert_allclose(GRID.z, -0.8 + 0.08 * (np.arange(20) + 0.5), atol=1e-6)
    np.testing.assert_allclose(GRID.y, -1 + 0.05 * (np.arange(40) + 0.5), atol=1e-6)
    assert GRID.pixel == pytest.approx(2 / 30)


def test_cover_is_the_distance_to_the_nearest_point_of_the_axis() -> None:
    tube = Tube(point(-0.3, 0.1, -0.4), point(0.3, -0.2, 0.5), 0.2, 0.1)
    box, share = cover(GRID, tube)
    whole = np.zeros((20, 40, 30))
    whole[box] = share
    centres = np.stack(np.meshgrid(*GRID[:3], indexing="ij"), -1)[..., None, :]
    steps = np.linspace(0, 1, 200)[:, None]
    axis = tube.start + steps * (tube.end - tube.start)
    distance = np.linalg.norm(centres - axis, axis=-1)
    nearest = distance.argmin(-1)
    inside = 0.2 - 0.1 * steps[nearest, 0] - distance.min(-1)
    np.testing.assert_allclose(whole, np.clip(inside / GRID.pixel + 0.5, 0, 1), atol=1e-2)


def test_a_tube_whose_ends_meet_is_a_ball() -> None:
    grid = make_grid((80, 80, 80), 1)
    _, share = cover(grid, Tube(point(0, 0, 0), point(0, 0, 0), 0.5, 0.5))
    assert share.sum() * (2 / 80) ** 3 == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.01)


def test_paint_fills_the_tube_and_leaves_the_rest() -> None:
    volume = np.full((20, 40, 30), -1000, np.float32)
    paint(volume, GRID, Tube(point(0, 0, 0), point(0, 0.5, 0), 0.2, 0.2), 300)
    assert volume.max() == 300
    assert (volume[:, :, :10] == -1000).all()


def test_a_tube_outside_the_grid_paints_nothing() -> None:
    volume = np.zeros((20, 40, 30), np.float32)
    paint(volume, GRID, Tube(point(2, 0, 0), point(3, 0, 0), 0.2, 0.2), 300)
    assert not volume.any()

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ttl_lightning.data.views.windows import Places, WindowDraws, Windows, grid_starts


@pytest.mark.parametrize(
    ("slices", "length", "stride"), [*itertools.product((1, 4, 5, 9, 24), (1, 4, 6), (1, 2, 4))]
)
def test_grid_against_brute_force(slices: int, length: int, stride: int) -> None:
    stride = min(stride, length)
    expected, start = [], 0
    while start + length < slices:
        expected.append(start)
        start += stride
    expected.append(max(slices - length, 0))
    assert grid_starts(slices, length, stride).tolist() == expected
    seen = {i for first in expected for i in range(first, min(first + length, slices))}
    assert seen == set(range(slices))


ABNORMAL = [np.array(some, np.int64) for some in ([], [3], [0, 5, 6, 7, 8, 9, 20], [30])]
SLICES = np.array([12, 5, 30, 31])
LABELS = np.array([0, 1, 1, 1])


def windows(min_abnormal: int = 4, length: int = 8, stride: int = 3) -> Windows:
    return Windows(SLICES, LABELS, ABNORMAL, length, stride, min_abnormal)


@pytest.mark.parametrize("min_abnormal", [1, 4, 8])
def test_labels_against_brute_force(min_abnormal: int) -> None:
    some = windows(min_abnormal)
    labels = some.label(some.grid)
    assert len(labels) == len(some.grid.studies)
    for study, start, label in zip(*some.grid, labels, strict=True):
        abnormal = set(ABNORMAL[study].tolist())
        inside = abnormal & set(range(start, start + 8))
        assert label == bool(abnormal and len(inside) >= min(min_abnormal, len(abnormal)))
    assert labels[some.grid.studies == 1].tolist() == [1]
    assert labels.sum() < len(labels)


def test_without_abnormal_slices_a_window_has_its_studys_label() -> None:
    some = Windows(SLICES, LABELS, None, 8, 8)
    assert some.label(some.grid).tolist() == LABELS[some.grid.studies].tolist()
    several = np.array([[0, 1], [1, 1], [0, 0], [1, 0]], np.float32)
    some = Windows(SLICES, several, None, 8, 8)
    np.testing.assert_array_equal(some.label(some.grid), several[some.grid.studies])


def test_still_draws_are_the_grid() -> None:
    some = windows()
    keys = [(5, i) for i in range(some.count(WindowDraws()))]
    drawn = some.draw(WindowDraws(), keys)
    assert np.array_equal(drawn.studies, some.grid.studies)
    assert np.array_equal(drawn.starts, some.grid.starts)


@pytest.mark.parametrize("jitter", [0.1, 0.5, 1.0])
def test_jitter_stays_within_its_bounds_and_the_study(jitter: float) -> None:
    some, draws = windows(), WindowDraws(jitter=jitter)
    keys = [(e, i) for e in range(300) for i in range(some.count(draws))]
    drawn = some.draw(draws, keys)
    last = np.maximum(SLICES[drawn.studies] - 8, 0)
    place = np.tile(some.grid.starts, 300)
    assert (drawn.starts >= 0).all()
    assert (drawn.starts <= last).all()
    assert (np.abs(drawn.starts - place) <= jitter * 8).all()
    middle = (drawn.studies == 2) & (place == 9)  # free to move to either side
    shifts, counts = np.unique(drawn.starts[middle] - 9, return_counts=True)
    most = int(jitter * 8)
    assert shifts.tolist() == list(range(-most, most + 1))
    assert counts.min() > 0.4 * counts.mean()


def test_abnormal_draws_lie_about_abnormal_slices() -> None:
    some, draws = windows(1), WindowDraws(abnormal_fraction=1.0)
    keys = [(e, i) for e in range(100) for i in range(some.count(draws))]
    drawn = some.draw(draws, keys)
    labels = some.label(drawn)
    assert np.array_equal(labels, LABELS[drawn.studies])
    assert set(drawn.starts[drawn.studies == 0]) == {0, 3, 4}  # has none: the grid
    # around 0, 5 … 9 and 20, and within the study
    assert set(drawn.starts[drawn.studies == 2]) == {0, 1, 2, 3, 4, 5, 16}


def test_abnormal_draws_are_as_many_as_asked_for() -> None:
    some = Windows(np.array([100]), np.array([1]), [np.arange(60, 64)], 4, 4)
    draws = WindowDraws(abnormal_fraction=0.3)
    keys = [(e, 0) for e in range(4000)]  # the first window of the grid
    starts = some.draw(draws, keys).starts
    assert abs((starts != 0).mean() - 0.3) < 0.03


@pytest.mark.parametrize("per_study", [1, 2, 5, 40])
def test_draws_of_a_study_are_spread_over_its_grid(per_study: int) -> None:
    some, draws = windows(), WindowDraws(per_study)
    assert some.count(draws) == 4 * per_study
    first = some.draw(draws, [(0, i) for i in range(4 * per_study)])
    assert np.bincount(first.studies).tolist() == [per_study] * 4
    for study, count in enumerate(SLICES):
        grid = set(grid_starts(int(count), 8, 3).tolist())
        taken = first.starts[first.studies == study]
        assert set(taken.tolist()) <= grid
        assert len(set(taken.tolist())) >= min(per_study, len(grid)) // 2
    every = some.draw(draws, [(e, i) for e in range(50) for i in range(4 * per_study)])
    assert set(every.starts[every.studies == 2]) == set(grid_starts(30, 8, 3))


def test_a_draw_depends_on_seed_epoch_and_index_alone() -> None:
    some = windows()
    draws = [WindowDraws(2, 0.5, 0.5, seed) for seed in (0, 1)]
    keys = [(3, i) for i in range(8)]
    whole = some.draw(draws[0], keys)
    for i in (0, 5, 7):
        one = some.draw(draws[0], [keys[i]])
        assert (one.studies[0], one.starts[0]) == (whole.studies[i], whole.starts[i])
    assert not np.array_equal(whole.starts, some.draw(draws[1], keys).starts)
    assert not np.array_equal(whole.starts, some.draw(draws[0], [(4, i) for i in range(8)]).starts)


def test_labels_follow_the_slices_really_taken() -> None:
    some = windows()
    at = Places(np.array([2, 2, 2]), np.array([5, 6, 7]))
    assert some.label(at).tolist() == [1, 1, 0]  # 5 to 9; 6 to 9; 7 to 9

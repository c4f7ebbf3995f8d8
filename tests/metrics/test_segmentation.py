"""Agreement of masks beside hand-made numbers, scikit-learn and SciPy's own distance maps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from ttl_lightning.metrics.segmentation import (
    MaskScores,
    distances,
    intervals,
    overlaps,
    score,
)


def blobs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Two classes of smooth blobs, (2, *shape)."""
    draw = np.random.default_rng(seed)
    fields = (ndimage.gaussian_filter(draw.normal(size=shape), 3) for _ in range(2))
    return np.array([field > 0.02 for field in fields])


@pytest.mark.parametrize("shape", [(40, 31), (12, 20, 17)])
def test_overlaps_are_scikit_learns(shape: tuple[int, ...]) -> None:
    ours, theirs = blobs(shape, 0), blobs(shape, 1)
    found = overlaps(ours, theirs)
    for number in range(2):
        pixels = theirs[number].ravel(), ours[number].ravel()
        assert found["dice"][number] == pytest.approx(f1_score(*pixels))
        assert found["jaccard"][number] == pytest.approx(jaccard_score(*pixels))
        assert found["sensitivity"][number] == pytest.approx(recall_score(*pixels))
        assert found["precision"][number] == pytest.approx(precision_score(*pixels))


def test_empty_masks() -> None:
    """Neither has it, the prediction alone, the reference alone."""
    some = np.zeros((4, 4), bool)
    some[1, 1] = True
    none = np.zeros_like(some)
    found = overlaps(np.array([none, some, none]), np.array([none, none, some]))
    assert found["dice"].tolist() == [1, 0, 0]
    assert found["jaccard"].tolist() == [1, 0, 0]
    assert np.isnan(found["sensitivity"]).tolist() == [True, True, False]
    assert np.isnan(found["precision"]).tolist() == [True, False, True]
    far = distances(np.array([none, some, none]), np.array([none, none, some]))
    assert all(np.isnan(column).all() for column in far.values())


def edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a neighbour outside; what lies beyond the image is outside."""
    return mask & ~ndimage.binary_erosion(mask)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((40, 31), None), ((40, 31), (0.5, 2.0)), ((12, 20, 17), (3.0, 0.7, 0.7))],
)
def test_distances_are_those_of_distance_maps(shape, spacing) -> None:
    ours, theirs = blobs(shape, 0), blobs(shape, 1)
    found = distances(ours, theirs, spacing)
    step = spacing or (1.0,) * len(shape)
    for number in range(2):
        one, other = edge(ours[number]), edge(theirs[number])
        there = ndimage.distance_transform_edt(~other, sampling=step)[one]
        back = ndimage.distance_transform_edt(~one, sampling=step)[other]
        assert found["hd95"][number] == pytest.approx(
            max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5
        )
        mean = np.concatenate([there, back]).mean()
        assert found["asd"][number] == pytest.approx(mean, rel=1e-5)


def test_a_shifted_square() -> None:
    """Three pixels to the right: that far apart, 7 of 10 columns shared."""
    ours, theirs = np.zeros((2, 1, 30, 30), bool)
    ours[0, 10:20, 13:23], theirs[0, 10:20, 10:20] = True, True
    assert overlaps(ours, theirs)["dice"][0] == pytest.approx(0.7)
    assert distances(ours, theirs)["hd95"][0] == 3
    assert distances(ours, theirs, (1.0, 0.5))["hd95"][0] == 1.5


def table(dice: np.ndarray, reference: np.ndarray | None = None, **others) -> MaskScores:
    sizes = np.ones(dice.shape, np.int64) if reference is None else reference
    pixels = np.zeros(len(dice), bool)
    return MaskScores(np.arange(len(dice)), {"dice": dice, **others}, sizes, sizes, pixels)


def test_the_mean_is_over_images_then_over_the_classes_present() -> None:
    dice = np.array([[0.2, 1.0, 0.5], [0.6, 1.0, 0.7]])
    found = score(table(dice, np.array([[9, 0, 0], [9, 0, 4]])), ("a", "b", "c"))
    assert found.values["dice/a"] == pytest.approx(0.4)
    assert found.values["dice/c"] == pytest.approx(0.6)
    assert found.values["dice"] == pytest.approx(0.5)
    assert found.values["dice/b"] is None
    assert found.notes == {"dice/b": "no reference has this class"}


def test_what_is_undefined_is_left_out_and_counted() -> None:
    far = np.array([[2.0], [math.nan], [4.0]])
    found = score(table(np.ones((3, 1)), hd95=far), ("a",))
    assert found.values["hd95"] == found.values["hd95/a"] == 3
    assert found.notes["hd95/unit"] == "in pixels"
    assert found.notes["hd95/undefined"].startswith("undefined in 1 of 3 images and classes")
    nothing = score(table(np.ones((3, 1)), hd95=np.full((3, 1), math.nan)), ("a",))
    assert nothing.values["hd95"] is None
    assert "undefined in every image" in nothing.notes["hd95"]


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        dice = draw.beta(8, 2, size=(40, 1))
        low, high = intervals(table(dice))["dice"]
        held += low <= 0.8 <= high
    assert 0.90 <= held / 300 <= 0.98


def test_images_of_a_patient_are_drawn_together() -> None:
    draw = np.random.default_rng(1)
    of_patient = draw.beta(8, 2, size=20)
    dice = np.repeat(of_patient, 10)[:, None]
    patients = [f"p{number // 10:02}" for number in range(200)]
    wide, narrow = intervals(table(dice), patients)["dice"], intervals(table(dice))["dice"]
    alone = intervals(table(of_patient[:, None]))["dice"]
    assert wide == pytest.approx(alone, abs=1e-9)
    assert (wide[1] - wide[0]) > 2.5 * (narrow[1] - narrow[0])


def test_intervals_of_too_little_and_of_no_spread() -> None:
    assert intervals(table(np.array([[0.5]])))["dice"] is None
    assert intervals(table(np.full((5, 1), 0.5)))["dice"] == (0.5, 0.5)
    assert intervals(table(np.ones((3, 1)), hd95=np.full((3, 1), math.nan)))["hd95"] is None


def test_the_unit_of_distances_is_said() -> None:
    scores = table(np.ones((3, 1)), hd95=np.ones((3, 1)))
    units = []
    for count in (0, 2, 3):
        measured = replace(scores, measured=np.arange(3) < count)
        units.append(score(measured, ("a",)).notes["hd95/unit"])
    assert units == ["in pixels", "in mm in 2 images and in pixels in 1 without a spacing", "in mm"]

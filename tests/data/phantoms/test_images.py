from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ttl_lightning.data.phantoms.images import LEVELS, generate


def test_an_image_depends_on_seed_and_number_only() -> None:
    many = generate(40, 32, "blob", seed=3)
    one = generate(1, 32, "blob", seed=3, first=21)
    np.testing.assert_array_equal(one.images[0], many.images[21])
    np.testing.assert_array_equal(one.lung_masks[0], many.lung_masks[21])
    assert one.labels[0] == many.labels[21]


def test_seeds_and_numbers_give_different_images() -> None:
    images = np.concatenate([generate(30, 32, seed=seed).images for seed in (0, 1)])
    assert len({image.tobytes() for image in images}) == 60


@pytest.mark.parametrize("level", LEVELS)
def test_levels_differ_in_their_positives_alone(level: str) -> None:
    plain = generate(20, 48, level, balance=0.0)
    half = generate(20, 48, level, balance=0.5)
    changed = (plain.images != half.images).any((1, 2))
    np.testing.assert_array_equal(changed, half.labels == 1)


@pytest.mark.parametrize("balance", [0.0, 0.1, 0.5, 1.0])
def test_balance_is_met_in_every_stretch(balance: float) -> None:
    labels = generate(100, 8, balance=balance, first=7).labels
    assert abs(labels.sum() - 100 * balance) <= 1


@pytest.mark.parametrize("level", LEVELS)
def test_exposure_and_lung_position_do_not_tell_the_classes(level: str) -> None:
    images, labels, *_ = generate(400, 48, level)
    values = images.astype(float)
    for statistic in (values.mean((1, 2)), values.std((1, 2)), values.max((1, 2))):
        assert abs(roc_auc_score(labels, statistic) - 0.5) < 0.1


def test_local_texture_tells_the_classes() -> None:
    images, labels, masks, _ = generate(300, 64, "texture")
    score = local_detail(images, masks)
    assert roc_auc_score(labels, score) > 0.9
    other = generate(300, 64, "shape")
    assert (
        abs(roc_auc_score(other.labels, local_detail(other.images, other.lung_masks)) - 0.5) < 0.2
    )


def local_detail(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Largest mean square, over 8×8 tiles within the lungs, of each pixel's diagonal detail."""
    x = images.astype(float)
    detail = (x[:, :-1, :-1] - x[:, 1:, :-1] - x[:, :-1, 1:] + x[:, 1:, 1:]) ** 2
    tiles = detail[:, :56, :56].reshape(len(x), 7, 8, 7, 8).mean((2, 4))
    within = masks[:, :56, :56].reshape(len(x), 7, 8, 7, 8).all((2, 4))
    return np.where(within, tiles, 0).max((1, 2)) / x.var((1, 2))


def test_a_heart_that_is_larger_leaves_less_lung() -> None:
    _, labels, masks, _ = generate(300, 48, "shape", difficulty=0.0)
    assert roc_auc_score(labels, -masks.sum((1, 2)).astype(float)) > 0.9


def test_difficulty_weakens_the_feature() -> None:
    easy, hard = (generate(200, 64, "texture", difficulty=d) for d in (0.0, 1.0))
    contrast = [
        np.mean(score[part.labels == 1]) / np.mean(score[part.labels == 0])
        for part in (easy, hard)
        for score in [local_detail(part.images, part.lung_masks)]
    ]
    assert contrast[0] > 1.3 * contrast[1]


def test_lungs_are_two_dark_fields_on_either_side() -> None:
    images, _, masks, _ = generate(30, 64)
    assert ((masks.mean((1, 2)) > 0.15) & (masks.mean((1, 2)) < 0.5)).all()
    assert (masks[:, :, :32].sum((1, 2)) > masks[:, :, 32:].sum((1, 2))).all()  # the heart is left
    assert all(
        image[mask].mean() < image[~mask].mean() for image, mask in zip(images, masks, strict=True)
    )


@pytest.mark.parametrize("level", ["texture", "blob"])
def test_lesions_are_in_the_lungs_of_positives_alone(level: str) -> None:
    """Where they are, an image differs from the same one drawn as negative; elsewhere it does not.

    But for its exposure, which is that of the whole image.
    """
    drawn = generate(40, 64, level, 0.0)
    assert not drawn.lesion_masks[drawn.labels == 0].any()
    assert drawn.lesion_masks[drawn.labels == 1].any(axis=(1, 2)).mean() > 0.9
    assert not (drawn.lesion_masks & ~drawn.lung_masks).any()
    healthy = generate(40, 64, level, 0.0, balance=0.0)
    assert np.array_equal(healthy.lung_masks, drawn.lung_masks)
    for sick, well, lesion, lung in zip(
        drawn.images, healthy.images, drawn.lesion_masks, drawn.lung_masks, strict=True
    ):
        if lesion.any():
            off = np.abs(sick.astype(float) - well)
            assert off[lesion].mean() > 1.5 * off[lung & ~lesion].mean()


def test_an_enlarged_heart_is_no_lesion() -> None:
    assert not generate(20, 48, "shape").lesion_masks.any()

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ttl_lightning.data.phantoms.images import generate
from ttl_lightning.data.phantoms.volumes import MAX_EMBOLI, SMALLEST, PhantomVolume, draw_volume
from ttl_lightning.errors import ConfigError

SHAPE = (16, 48, 48)


def positives(
    n: int, difficulty: float = 0.5, shape: tuple[int, int, int] = SHAPE
) -> list[PhantomVolume]:
    return [draw_volume(i, shape, difficulty, balance=1.0) for i in range(n)]


def without_emboli(
    n: int, difficulty: float = 0.5, shape: tuple[int, int, int] = SHAPE
) -> list[PhantomVolume]:
    return [draw_volume(i, shape, difficulty, balance=0.0) for i in range(n)]


def test_a_volume_is_what_its_type_says() -> None:
    volume = draw_volume(1, (9, 40, 32))
    assert isinstance(volume, PhantomVolume)
    assert volume.voxels.shape == volume.lesion_mask.shape == (9, 40, 32)
    assert volume.voxels.dtype == np.int16
    assert volume.lesion_mask.dtype == np.bool_
    assert isinstance(volume.label, int)


def test_a_volume_depends_on_seed_number_and_options_alone() -> None:
    first = draw_volume(7, SHAPE, 0.3, seed=2)
    draw_volume(8, SHAPE, 0.3, seed=2)
    again = draw_volume(7, SHAPE, 0.3, seed=2)
    np.testing.assert_array_equal(first.voxels, again.voxels)
    np.testing.assert_array_equal(first.lesion_mask, again.lesion_mask)
    drawn = {draw_volume(n, SHAPE, seed=seed).voxels.tobytes() for n in range(8) for seed in (0, 1)}
    assert len(drawn) == 16


@pytest.mark.slow
@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_labels_are_those_of_the_images_series(balance: float) -> None:
    labels = [draw_volume(n, SMALLEST, balance=balance).label for n in range(5, 25)]
    assert labels == generate(20, 8, balance=balance, first=5).labels.tolist()
    assert abs(sum(labels) - 20 * balance) <= 1


@pytest.mark.slow
def test_emboli_change_the_voxels_of_their_mask_and_no_other() -> None:
    for shape in (SHAPE, (20, 64, 40)):
        for difficulty in (0.0, 1.0):
            pairs = zip(
                positives(3, difficulty, shape), without_emboli(3, difficulty, shape), strict=True
            )
            for ill, well in pairs:
                np.testing.assert_array_equal(ill.voxels != well.voxels, ill.lesion_mask)
                assert (ill.voxels <= well.voxels).all()
                assert not well.lesion_mask.any()
                assert (ill.label, well.label) == (1, 0)


def test_emboli_are_dark_and_lie_in_bright_vessels() -> None:
    for ill, well in zip(positives(10, 0.0), without_emboli(10, 0.0), strict=True):
        core = ndimage.binary_erosion(ill.lesion_mask, np.ones((1, 3, 3)))
        if core.any():
            assert abs(np.median(ill.voxels[core]) - 60) < 40
            assert np.median(well.voxels[core]) > 250
        assert np.mean(well.voxels[ill.lesion_mask]) - np.mean(ill.voxels[ill.lesion_mask]) > 100


@pytest.mark.slow
def test_every_positive_has_one_to_four_emboli() -> None:
    drawn = [volume.lesion_mask for volume in positives(20, 0.5, (24, 64, 64))]
    emboli = [ndimage.label(mask, np.ones((3, 3, 3)))[1] for mask in drawn]
    assert min(emboli) >= 1
    assert MAX_EMBOLI - 1 <= max(emboli) <= MAX_EMBOLI  # some touch one another
    assert len(set(emboli)) > 2


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_the_smallest_volumes_show_their_emboli(difficulty: float) -> None:
    assert all(volume.lesion_mask.any() for volume in positives(40, difficulty, SMALLEST))


@pytest.mark.slow
def test_difficulty_weakens_emboli() -> None:
    sizes, drops = [], []
    for difficulty in (0.0, 0.5, 1.0):
        ill, well = positives(10, difficulty), without_emboli(10, difficulty)
        masks = np.stack([volume.lesion_mask for volume in ill])
        drop = np.stack([b.voxels - a.voxels for a, b in zip(ill, well, strict=True)])
        sizes.append(masks.sum())
        drops.append(drop[masks].mean())
    assert sizes[0] > sizes[1] > sizes[2] > 0
    assert drops[0] > drops[1] > 2 * drops[2] > 0


@pytest.mark.slow
def test_global_statistics_do_not_tell_the_classes() -> None:
    volumes = [draw_volume(i, SHAPE, 0.5) for i in range(200)]
    levels = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
    statistics = [
        [v.voxels.mean(), v.voxels.std(), *np.quantile(v.voxels, levels)] for v in volumes
    ]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    labels = [v.label for v in volumes]
    assert cross_val_score(model, statistics, labels, cv=5, scoring="roc_auc").mean() < 0.65


def test_local_darkness_within_vessels_tells_the_classes() -> None:
    """An oracle that knows the lumen: where the same volume without emboli is bright."""
    scores = [
        np.mean(ill.voxels[well.voxels > 230] < 160)
        for ill, well in zip(positives(10, 0.3), without_emboli(10, 0.3), strict=True)
    ]
    assert min(scores) > 0.005


def test_a_chest_lies_as_it_should() -> None:
    voxels = np.mean([v.voxels for v in without_emboli(12, shape=(24, 64, 64))], 0)
    lung = (voxels > -940) & (voxels < -600)
    right, left = (lung[:, 10:54, columns].sum((1, 2)) for columns in (slice(32), slice(32, 64)))
    mirrored = voxels[7:10, 20:28, ::-1]
    heart = voxels[7:10, 20:28, 38:44].mean() - mirrored[:, :, 38:44].mean()
    assert heart > 100  # it lies to the left
    assert right[:6].sum() < left[:6].sum()  # the liver stands higher than the spleen
    assert lung[12].sum() > 2 * max(lung[0].sum(), lung[-1].sum())
    back, front = voxels[:, 40:46, 30:34].mean(), voxels[:, 18:24, 30:34].mean()
    assert back > front + 100  # the spine
    assert max(voxels[:, 0].max(), voxels[:, :, 0].max()) < -900  # air all round


def test_arteries_hold_contrast_agent_in_both_lungs_and_thin_out() -> None:
    volume = draw_volume(0, (64, 128, 128), balance=0.0).voxels
    bright = ndimage.gaussian_filter(volume.astype(float), 0.7) > 200
    for columns in (slice(20, 46), slice(82, 108)):
        near = bright[20:44, 40:88, columns]
        assert 0.005 < near.mean() < 0.25
    width = ndimage.distance_transform_edt(bright[:, 30:90, 20:108])
    assert width.max() > 5
    assert ((width > 0) & (width <= 1)).sum() > 100


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"shape": (7, 48, 48)},
            "data.image_size[0] must be an integer from 8 to 4096, got 7.",
        ),
        (
            {"shape": (16, 48, 23)},
            "data.image_size[2] must be an integer from 24 to 4096, got 23.",
        ),
        ({"difficulty": 1.5}, "data.difficulty must be a number from 0 to 1, got 1.5."),
        ({"balance": -1}, "data.balance must be a number from 0 to 1, got -1."),
    ],
)
def test_errors_name_the_key(options: dict, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        draw_volume(0, **{"shape": SHAPE, **options})
    assert str(caught.value) == text

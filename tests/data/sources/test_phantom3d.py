from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.making import data_of
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.phantoms.volumes import draw_volume
from ttl_lightning.data.sources.phantom3d import Phantom3dSource, PhantomStudies
from ttl_lightning.data.transforms import Augment
from ttl_lightning.errors import ConfigError

SMALL = {
    "train_size": 4,
    "val_size": 3,
    "test_size": 2,
    "num_slices": 12,
    "image_size": [8, 32, 32],
    "window_stride": 2,
}


def ready(**options) -> DataModule:
    data = data_of(Phantom3dSource, **SMALL | options)
    data.setup("fit")
    return data


def test_splits_have_the_sizes_asked_for_and_no_volume_twice() -> None:
    data = ready()
    assert [len(data.sample_ids(split)) for split in ("train", "val", "test")] == [12, 3, 2]
    assert data.sample_ids("val") == ["val/0", "val/1", "val/2"]
    assert data.sample_ids("train")[:3] == ["train/0/0", "train/0/2", "train/0/4"]
    assert (data.class_names, data.exclusive) == (("normal", "embolism"), True)
    assert len(data.notes) == 1
    assert data.notes[0].startswith("Evaluation reads")
    images = [batch["image"] for batch in (*data.val_dataloader(), *data.test_dataloader())]
    assert len({image.numpy().tobytes() for image in torch.cat(images)}) == 15


def test_voxels_are_the_generators() -> None:
    data = ready(augment=Augment(1.0), eval_view="whole", mean=[0.0] * 3, std=[1.0] * 3)
    drawn = draw_volume(10_000_000 + 1, (12, 32, 32), 0.3, 0, balance=0.5)
    batch = next(iter(data.val_dataloader()))
    image = batch["image"][(batch["study"] == 1).nonzero()[1, 0], 0]  # from slice 2 on
    expected = np.clip((drawn.voxels[2:10].astype(float) + 100) / 1000, 0, 1)
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert data.labels("val")[1] == drawn.label


@pytest.mark.slow
def test_a_split_does_not_depend_on_the_size_of_another() -> None:
    seen = [next(iter(ready(train_size=size).val_dataloader()))["image"] for size in (4, 5)]
    assert torch.equal(seen[0], seen[1])


@pytest.mark.slow
def test_lesion_masks_are_what_evaluation_sees() -> None:
    data = ready(eval_view="center_crop")
    masks = data.masks("train")
    assert masks.shape == (4, 12, 32, 32)
    size = data.augment.stored_size(32)
    assert size > 32
    start = (size - 32) // 2
    for number, (mask, label) in enumerate(zip(masks, (0, 1, 0, 1), strict=True)):
        drawn = draw_volume(number, (12, size, size), 0.3, 0, balance=0.5)
        assert (drawn.label, drawn.lesion_mask.any()) == (label, bool(label))
        np.testing.assert_array_equal(
            mask, drawn.lesion_mask[:, start : start + 32, start : start + 32]
        )


@pytest.mark.slow
def test_windows_are_positive_where_the_masks_say() -> None:
    data = ready(min_abnormal_slices=2)
    studies = PhantomStudies(np.arange(4), (12, 37, 37), 0.3, 0.5, 0)
    expected = []
    for row in range(4):
        abnormal = studies.lesion_mask(row).any((1, 2))
        counts = [abnormal[start : start + 8].sum() for start in (0, 2, 4)]
        expected += [int(abnormal.any() and n >= min(2, abnormal.sum())) for n in counts]
    assert data.labels("train").tolist() == expected


@pytest.mark.slow
def test_the_disk_cache_is_one_of_a_volume(tmp_path) -> None:
    first = ready(cache="disk", cache_dir=tmp_path)
    assert len(list(tmp_path.rglob("*.npy"))) == 9
    again = ready(cache="disk", cache_dir=tmp_path)
    assert np.array_equal(first.masks("val"), again.masks("val"))
    ready(cache="disk", cache_dir=tmp_path, difficulty=0.4)
    assert len(list(tmp_path.rglob("*.npy"))) == 18


def test_balance() -> None:
    assert ready(balance=0.75).labels("val").tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"train_size": 0}, "data.train_size must be an integer from 1"),
        ({"test_size": -3}, "data.test_size must be an integer"),
        ({"num_slices": 7}, "data.num_slices must be an integer from 8 to 4096, got 7"),
        ({"difficulty": 1.5}, "data.difficulty must be a number from 0 to 1"),
        ({"balance": True}, "data.balance must be a number from 0 to 1"),
        ({"image_size": 48}, r"data.image_size must be \[slices, height, width\]"),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        data_of(Phantom3dSource, **options)

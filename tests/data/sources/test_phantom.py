from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.making import data_of
from ttl_lightning.data.sources.phantom import PhantomSource
from ttl_lightning.errors import ConfigError

SMALL = {"train_size": 20, "val_size": 7, "test_size": 5, "image_size": 32}


def test_splits_have_the_sizes_asked_for_and_no_image_twice() -> None:
    data = data_of(PhantomSource, **SMALL, level="shape")
    data.setup("fit")
    assert [len(data.labels(split)) for split in ("train", "val", "test")] == [20, 7, 5]
    assert data.sample_ids("val")[:2] == ["val/0", "val/1"]
    assert (data.class_names, data.exclusive) == (("normal", "cardiomegaly"), True)
    images = [batch["image"] for batch in data.val_dataloader()]
    images += [batch["image"] for batch in data.test_dataloader()]
    assert len({image.numpy().tobytes() for image in torch.cat(images)}) == 12


def test_a_split_does_not_depend_on_the_size_of_another() -> None:
    seen = []
    for size in (20, 30):
        data = data_of(PhantomSource, **SMALL | {"train_size": size})
        data.setup()
        seen.append(next(iter(data.val_dataloader()))["image"])
    assert torch.equal(seen[0], seen[1])


def test_lung_masks_fit_the_images() -> None:
    data = data_of(PhantomSource, **SMALL, mean=[0.0] * 3, std=[1.0] * 3)
    data.setup()
    masks = data.masks("val")
    assert masks.shape == (7, 32, 32)
    images = next(iter(data.val_dataloader()))["image"][:, 0].numpy()
    for image, mask in zip(images, masks, strict=True):
        assert image[mask].mean() < image[~mask].mean()
    inside = np.roll(masks, 8, axis=1)  # a mask that is shifted fits worse
    assert images[masks].mean() < images[inside].mean()


def test_balance() -> None:
    data = data_of(PhantomSource, **SMALL, balance=0.2)
    data.setup()
    assert data.labels("train").sum() == 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"train_size": 0}, "data.train_size must be an integer from 1"),
        ({"val_size": 2.5}, "data.val_size must be an integer"),
        ({"test_size": -3}, "data.test_size must be an integer"),
        ({"level": "blobs"}, "unknown data.level 'blobs'; did you mean 'blob'"),
        ({"difficulty": 1.5}, "data.difficulty must be a number from 0 to 1"),
        ({"balance": True}, "data.balance must be a number from 0 to 1"),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        data_of(PhantomSource, **options)

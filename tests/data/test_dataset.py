from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ttl_lightning.data.dataset import ImageDataset, as_it_is
from ttl_lightning.data.sampler import EpochSampler
from ttl_lightning.data.store import ImageStore
from ttl_lightning.data.transforms import Augment, TrainTransform


@pytest.fixture
def dataset(counting_images, tmp_path: Path) -> ImageDataset:
    store = ImageStore(counting_images, 16, 3, "memory", tmp_path)
    store.scan("raise", 0)
    rows = np.array([6, 2, 4, 0, 5])
    return ImageDataset(
        store, rows, rows % 2, TrainTransform(Augment(), 14, (0.5,), (0.5,), seed=1)
    )


def test_a_batch_is_its_samples(dataset: ImageDataset) -> None:
    keys = [(3, 4), (3, 0), (3, 2)]
    batch = dataset.__getitems__(keys)
    assert batch["image"].shape == (3, 1, 14, 14)
    assert batch["id"].tolist() == [4, 0, 2]
    assert batch["label"].tolist() == [1, 0, 0]
    for i, key in enumerate(keys):
        sample = dataset[key]
        assert torch.equal(sample["image"], batch["image"][i])
        assert sample["label"] == batch["label"][i]
        assert sample["id"] == key[1]


def by_id(dataset: ImageDataset, epoch: int, workers: int, batch_size: int) -> torch.Tensor:
    sampler = EpochSampler(dataset, batch_size=1, training=True, seed=0)
    sampler.set_epoch(epoch)
    loader = DataLoader(
        dataset, batch_size, sampler=sampler, num_workers=workers, collate_fn=as_it_is
    )
    images = torch.empty(len(dataset), 1, 14, 14)
    for batch in loader:
        images[batch["id"]] = batch["image"]
    return images


def test_samples_depend_on_neither_workers_nor_batch(dataset: ImageDataset) -> None:
    expected = by_id(dataset, 2, workers=0, batch_size=5)
    for workers, batch_size in [(0, 1), (0, 2), (2, 2)]:
        assert torch.equal(by_id(dataset, 2, workers, batch_size), expected)
    assert not torch.equal(by_id(dataset, 3, workers=0, batch_size=5), expected)

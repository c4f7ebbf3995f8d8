from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ttl_lightning.data.sampler import EpochSampler
from ttl_lightning.data.store import Store
from ttl_lightning.data.transforms import Augment, TrainTransform
from ttl_lightning.data.views.dataset import ImageDataset, WindowDataset, as_batch, as_it_is
from ttl_lightning.data.views.evaluation import EvalTransform
from ttl_lightning.data.views.fit import ImageForm, VolumeForm
from ttl_lightning.data.views.windows import WindowDraws, Windows


@pytest.fixture
def dataset(counting_images, tmp_path: Path) -> ImageDataset:
    store = Store(counting_images, ImageForm(16, 3), "memory", tmp_path)
    store.scan("raise", 0, "images")
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


@pytest.fixture
def window_datasets(array_studies, tmp_path: Path) -> tuple[WindowDataset, WindowDataset]:
    """Training and evaluation on three of four studies, of 7, 12 and 3 slices."""
    store = Store(array_studies, VolumeForm(16), "memory", tmp_path)
    store.scan("raise", 0, "studies")
    rows = np.array([3, 2, 1])
    windows = Windows(np.array([7, 12, 3]), np.array([1, 0, 1]), None, 5, 5)
    draws = WindowDraws(jitter=0.5)
    train = TrainTransform(Augment(), 14, (0.5,), (0.5,), seed=1)
    still = EvalTransform(14, (0.0,), (1.0,), 0.9)
    return (
        WindowDataset(store, rows, windows, draws, (-100, 900), train),
        WindowDataset(store, rows, windows, None, (-100, 900), still),
    )


def test_a_batch_of_windows_is_its_samples(
    window_datasets: tuple[WindowDataset, WindowDataset],
) -> None:
    keys = [(3, 4), (3, 0), (3, 5)]
    for dataset, names in zip(
        window_datasets,
        (("image", "label", "id"), ("image", "label", "id", "again", "study", "study_label")),
        strict=True,
    ):
        assert len(dataset) == 6  # from 0, 2; 0, 5, 7; 0
        batch = dataset.__getitems__(keys)
        assert tuple(batch) == names
        assert batch["image"].shape == (3, 1, 5, 14, 14)
        assert batch["id"].tolist() == [4, 0, 5]
        assert batch["label"].tolist() == [0, 1, 1]
        for i, key in enumerate(keys):
            sample = dataset[key]
            assert tuple(sample) == names
            assert all(torch.equal(sample[name], batch[name][i]) for name in names)
    assert batch["study"].tolist() == [1, 0, 2]
    assert batch["study_label"].tolist() == [0, 1, 1]
    assert batch["image"][2, 0, :3].any((1, 2)).all()
    assert not batch["image"][2, 0, 3:].any()


def test_mixed_depth_and_colour_share_one_scale() -> None:
    grey, deep = np.full((1, 16, 16), 51, np.uint8), np.full((1, 16, 16), 13107, np.uint16)
    colour = np.zeros((3, 16, 16), np.uint8)
    colour[0] = 255
    batch = as_batch([grey, deep, colour])
    assert batch.shape == (3, 3, 16, 16)
    assert torch.equal(batch[0], batch[1])
    torch.testing.assert_close(batch[0], torch.full((3, 16, 16), 0.2))
    assert batch[2].mean((1, 2)).tolist() == [1, 0, 0]
    assert as_batch([grey, deep]).shape == (2, 1, 16, 16)
    assert torch.equal(as_batch([grey, grey]), batch[:1, :1].expand(2, -1, -1, -1))

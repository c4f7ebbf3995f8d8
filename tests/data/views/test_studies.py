from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from tests.data.making import data_of
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.transforms import Augment
from ttl_lightning.data.window_options import AbnormalView
from ttl_lightning.errors import ConfigError, DataError

STILL = Augment(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0)
SLICES = (7, 3, 12, 7, 9, 4, 8, 6)
LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 1])
ABNORMAL = [[], [1, 2], [], [0, 5, 6], [], [3], [], [2, 3, 4, 5]]
SPLITS = np.array(["train"] * 4 + ["val"] * 2 + ["test"] * 2)
SMALL = {"image_size": [4, 16, 16], "in_channels": 1}


@dataclass(frozen=True, kw_only=True)
class ListedStudies(Source):
    """Studies of a reader; with their abnormal slices, if these are given."""

    view = AbnormalView
    defaults: ClassVar[dict[str, Any]] = SMALL

    name: str = "listed"
    reader: Any = None
    abnormal: Any = None
    labels: Any = None

    def load(self, side: int) -> Samples:
        several = self.labels is not None
        return Samples(
            ids=tuple(f"study{i}" for i in range(8)),
            labels=self.labels if several else LABELS,
            splits=SPLITS,
            class_names=("a", "b") if several else ("normal", "ill"),
            reader=self.reader,
            abnormal=None if self.abnormal is None else self.abnormal_slices,
        )

    def abnormal_slices(self, row: int, count: int) -> Any:
        return np.array(self.abnormal[row], np.int64)


def listed(reader: Any, **options: Any) -> DataModule:
    common = {"augment": STILL, "abnormal": ABNORMAL, "mean": [0.0], "std": [1.0]}
    return data_of(ListedStudies, reader=reader, **common | options)


@pytest.fixture
def reader(array_studies):
    rng = np.random.default_rng(1)
    array_studies.volumes = [rng.integers(-300, 1200, (n, 16, 16), dtype=np.int16) for n in SLICES]
    return array_studies


def ready(reader, **options: Any) -> DataModule:
    data = listed(reader, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def scaled(voxels: np.ndarray, low: float = -100, high: float = 900) -> np.ndarray:
    return np.clip((voxels.astype(np.float64) - low) / (high - low), 0, 1)


def test_what_a_run_asks_for(reader) -> None:
    data = ready(reader, batch_size=3, window_stride=3)
    assert (data.class_names, data.exclusive, data.num_classes) == (("normal", "ill"), True, 2)
    assert data.sample_ids("val") == ["study4", "study5"]
    assert data.labels("val").tolist() == [0, 1]
    grid = ["study0/0", "study0/3", "study1/0", "study2/0", "study2/3", "study2/6", "study2/8"]
    assert data.sample_ids("train") == [*grid, "study3/0", "study3/3"]
    assert data.labels("train").tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]  # 0, 5, 6 are far apart
    assert (data.bad_images, data.notes) == ([], [])
    batches = list(data.val_dataloader())
    assert [len(batch["id"]) for batch in batches] == [3, 1]
    assert batches[0]["image"].shape == (3, 1, 4, 16, 16)
    assert batches[0]["image"].dtype == torch.float32
    joined = {key: torch.cat([batch[key] for batch in batches]).tolist() for key in batches[0]}
    assert joined["id"] == [0, 1, 2, 3]
    assert joined["study"] == [0, 0, 0, 1]
    assert joined["study_label"] == [0, 0, 0, 1]
    assert joined["label"] == [0, 0, 0, 1]
    assert set(next(iter(data.train_dataloader()))) == {"image", "label", "id"}
    assert len(data.train_dataloader().dataset) == 9


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_against_numpy(reader, cache: str, channels: int, tmp_path: Path) -> None:
    mean, std = [0.1, 0.2, 0.3][:channels], [0.5, 0.6, 0.7][:channels]
    data = ready(reader, cache=cache, cache_dir=tmp_path, in_channels=channels, mean=mean, std=std)
    for split, first, grids in (("val", 4, ([0, 4, 5], [0])), ("train", 0, ([0, 3], [0]))):
        dataset = data._prepared.datasets[split]
        index = 0
        for study, starts in enumerate(grids):
            for start in starts:
                voxels = scaled(reader.volumes[first + study][start : start + 4])
                voxels = np.concatenate([voxels, np.zeros((4 - len(voxels), 16, 16))])
                image = dataset[0, index]["image"].numpy()
                assert image.shape == (channels, 4, 16, 16)
                for channel in range(channels):
                    expected = (voxels - mean[channel]) / std[channel]
                    np.testing.assert_allclose(image[channel], expected, atol=1e-5)
                index += 1


def test_evaluation_takes_the_middle_of_what_is_stored(reader) -> None:
    reader.volumes = [np.pad(v, ((0, 0), (2, 2), (2, 2)), mode="wrap") for v in reader.volumes]
    data = ready(reader, augment=Augment(resize_factor=1.25), eval_view="center_crop")
    image = data._prepared.datasets["test"][0, 0]["image"][0]
    np.testing.assert_allclose(image, scaled(reader.volumes[6][:4, 2:18, 2:18]), atol=1e-6)


def test_all_slices_of_a_window_are_warped_alike(reader) -> None:
    reader.volumes = [np.repeat(v[:1], len(v), axis=0) for v in reader.volumes]
    data = ready(reader, augment=Augment(1.25, (0.5, 0.6), (0.8, 1.2), 40.0, 0.5), abnormal=None)
    image = data._prepared.datasets["train"][0, 1]["image"][0]
    assert torch.equal(image, image[:1].expand(4, -1, -1))
    assert not torch.equal(image, data._prepared.datasets["train"][1, 1]["image"][0])


def test_a_range_of_its_own_for_each_study(reader) -> None:
    reader.volumes[5] = np.full((4, 16, 16), 7, np.int16)
    data = ready(reader, hu_window=None)
    low, high = np.percentile(reader.volumes[4], [0.5, 99.5])
    images = next(iter(data.val_dataloader()))["image"]
    np.testing.assert_allclose(images[0, 0], scaled(reader.volumes[4][:4], low, high), atol=1e-5)
    assert not images[-1].any()


def test_loading_leaves_what_is_stored_alone(reader) -> None:
    reader.volumes = [volume.astype(np.float32) for volume in reader.volumes]
    data = ready(reader)
    first, second = (next(iter(data.val_dataloader()))["image"] for _ in range(2))
    assert torch.equal(first, second)


MOVED = Augment(1.25, (0.6, 1.0), (0.9, 1.1), 10.0, 0.5, slice_jitter=0.5)


def test_batches_do_not_depend_on_cache_workers_or_batch_size(reader, tmp_path: Path) -> None:
    seen = []
    for cache, workers, batch_size in (("memory", 0, 4), ("none", 0, 3), ("disk", 2, 2)):
        data = ready(
            reader,
            cache=cache,
            num_workers=workers,
            batch_size=batch_size,
            cache_dir=tmp_path,
            augment=MOVED,
            abnormal_fraction=0.5,
            windows_per_study=2,
            seed=5,
        )
        loader = data.train_dataloader()
        loader.sampler.set_epoch(3)
        images, labels = torch.zeros(8, 1, 4, 16, 16), torch.zeros(8)
        for batch in loader:
            images[batch["id"]], labels[batch["id"]] = batch["image"], batch["label"].float()
        seen.append((images, labels))
    for images, labels in seen[1:]:
        assert torch.equal(images, seen[0][0])
        assert torch.equal(labels, seen[0][1])


def test_training_labels_follow_the_slices_taken(reader) -> None:
    marks = [np.isin(np.arange(n), some) for n, some in zip(SLICES, ABNORMAL, strict=True)]
    # every abnormal slice is white and every other one black
    reader.volumes = [
        np.where(mark, 900, -100).astype(np.int16)[:, None, None]
        + np.random.default_rng(i).integers(0, 9, (len(mark), 16, 16), dtype=np.int16)
        for i, mark in enumerate(marks)
    ]
    data = ready(
        reader,
        augment=Augment(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0, slice_jitter=0.5),
        min_abnormal_slices=1,
        abnormal_fraction=0.5,
        windows_per_study=3,
    )
    loader, seen = data.train_dataloader(), []
    for epoch in range(20):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            white = (batch["image"][:, 0] > 0.5).all(-1).all(-1).any(-1)
            assert torch.equal(white, batch["label"] == 1)
            seen += batch["label"].tolist()
    assert 0.2 < np.mean(seen) < 0.8


def test_a_bad_study_is_raised_or_skipped(reader) -> None:
    reader.volumes[1] = None
    with pytest.raises(DataError, match=r"cannot read study 1\."):
        ready(reader)
    data = ready(reader, on_bad_image="skip", min_abnormal_slices=2)
    assert data.bad_images == [{"id": "study1", "reason": "cannot read study 1."}]
    assert data.notes == ["1 studies that cannot be read were skipped."]
    assert "study1/0" not in data.sample_ids("train")
    assert data.labels("train").tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_a_study_in_two_splits_is_raised_or_dropped(reader) -> None:
    reader.volumes[0] = reader.volumes[6]
    with pytest.raises(DataError, match=r"study0 \(train\) = study6 \(test\)"):
        ready(reader)
    data = ready(reader, on_duplicate="drop")
    assert data.sample_ids("train")[0] == "study1/0"
    assert data.notes[0].startswith("1 studies were left out of the split named first")


def test_where_the_disk_cache_lies_is_said(reader, tmp_path: Path, monkeypatch) -> None:
    data = ready(reader, cache="disk", cache_dir=tmp_path)
    assert data.notes == [f"8 studies take 0.0 MB in {tmp_path}."]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    data = ready(reader, cache="disk")
    assert str(tmp_path / "home/ttl_lightning/volumes") in data.notes[0]


def test_several_labels(reader) -> None:
    labels = np.stack([LABELS, 1 - LABELS], 1).astype(np.float32)
    data = ready(reader, abnormal=None, labels=labels)
    batch = next(iter(data.val_dataloader()))
    assert batch["label"].tolist() == [[0, 1]] * 3 + [[1, 0]]
    assert torch.equal(batch["label"], batch["study_label"])
    assert data.labels("train").shape == (len(data.sample_ids("train")), 2)
    with pytest.raises(DataError, match="abnormal slices go with one label of two classes"):
        ready(reader, labels=labels)


@pytest.mark.parametrize(
    ("abnormal", "options", "text"),
    [
        ([[], [], *ABNORMAL[2:]], {}, "study 'study1' is of class 'ill', but has 0 abnormal"),
        ([[3], *ABNORMAL[1:]], {}, "study 'study0' is of class 'normal', but has 1 abnormal"),
        (
            [[], [1, 2], [], [0, 5, 6], [], [3], [], [2]],
            {"image_size": [2, 16, 16], "min_abnormal_slices": 2, "window_stride": 1},
            None,
        ),
        (
            [[], [0, 2], [], [0, 2, 6], [], [3], [], [2]],
            {"image_size": [2, 16, 16], "min_abnormal_slices": 2},
            "no training window of class 'ill': change data.window_stride=2 or "
            "data.min_abnormal_slices=2",
        ),
    ],
)
def test_abnormal_slices_agree_with_labels(reader, abnormal, options, text) -> None:
    if text is None:
        ready(reader, abnormal=abnormal, **options)
        return
    with pytest.raises(DataError, match=text):
        ready(reader, abnormal=abnormal, **options)


def test_abnormal_draws_need_abnormal_slices(reader) -> None:
    with pytest.raises(ConfigError, match=r"data.abnormal_fraction=0.3 needs to know which slices"):
        ready(reader, abnormal=None, abnormal_fraction=0.3)


SIZE = r"data.image_size must be \[slices, height, width\] with equal height and width, got "


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"image_size": 64}, SIZE + "64"),
        ({"image_size": [16, 48]}, SIZE + r"\[16, 48\]"),
        ({"image_size": [16, 48, 64]}, SIZE + r"\[16, 48, 64\]"),
        ({"image_size": "16x48x48"}, SIZE),
        ({"image_size": [0, 48, 48]}, "data.image_size must be an integer from 1 to 4096, got 0"),
        ({"image_size": [4, 4, 4]}, "data.image_size must be an integer from 8 to 4096, got 4"),
        ({"image_size": [4, 16.0, 16.0]}, "data.image_size must be an integer"),
        ({"window_stride": 5}, "data.window_stride must be an integer from 1 to 4, got 5"),
        ({"windows_per_study": 0}, "data.windows_per_study must be an integer from 1"),
        ({"min_abnormal_slices": 5}, "data.min_abnormal_slices must be an integer from 1 to 4"),
        ({"abnormal_fraction": 1.5}, "data.abnormal_fraction must be a number from 0 to 1"),
        ({"hu_window": [900, -100]}, r"data.hu_window must be given as \[smallest, largest\]"),
        ({"hu_window": [5, 5]}, r"data.hu_window must be two different numbers, got \[5, 5\]"),
        ({"hu_window": 900}, "data.hu_window must be two numbers"),
        ({"cache": "ram"}, "unknown data.cache 'ram'"),
        ({"in_channels": 2}, "data.in_channels must be 1 or 3, got 2"),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        listed(None, **options)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.making import data_of
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.sources.npz import Npz3dSource
from ttl_lightning.data.transforms import Augment
from ttl_lightning.errors import ConfigError, DataError

STILL = {
    "augment": Augment(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0),
    "mean": [0.0],
    "std": [1.0],
    "in_channels": 1,
}


def arrays(shape: tuple[int, ...] = (12, 12, 12)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        key: value
        for split in ("train", "val", "test")
        for key, value in (
            (f"{split}_images", rng.integers(0, 256, (4, *shape), dtype=np.uint8)),
            (f"{split}_labels", np.array([[0], [1], [0], [1]], np.uint8)),
        )
    }


def written(folder: Path, data: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(folder / "x.npz", **data)
    return folder / "x.npz"


def ready(path: Path, **options) -> DataModule:
    data = data_of(Npz3dSource, path=path, **{**STILL, **options})
    data.setup()
    return data


def test_each_volume_is_one_study_seen_whole(tmp_path: Path) -> None:
    volumes = arrays((8, 8, 8))
    data = ready(written(tmp_path, volumes), image_size=[8, 8, 8])
    assert (data.exclusive, data.class_names) == (True, ("0", "1"))
    assert data.sample_ids("train") == [f"train/{i}/0" for i in range(4)]
    for split, loader in (("train", data.train_dataloader()), ("test", data.test_dataloader())):
        batch = next(iter(loader))
        assert batch["image"].shape == (4, 1, 8, 8, 8)
        expected = volumes[f"{split}_images"][batch["id"]] / 255
        np.testing.assert_allclose(batch["image"][:, 0], expected, atol=1e-6)
        np.testing.assert_array_equal(batch["label"], np.array([0, 1, 0, 1])[batch["id"]])


def test_the_whole_depth_is_seen_in_fewer_slices(tmp_path: Path) -> None:
    volumes = arrays((24, 24, 24))
    # bright at both ends of the depth: a window of slices would miss one
    volumes["test_images"][:] = 0
    volumes["test_images"][:, [0, 1, 2, -3, -2, -1]] = 240
    data = ready(written(tmp_path, volumes), image_size=[8, 8, 8], on_duplicate="raise")
    image = next(iter(data.test_dataloader()))["image"][0, 0].numpy()
    profile = image.mean((1, 2))
    np.testing.assert_allclose(profile, profile[::-1], atol=1 / 255)
    assert profile[0] > 0.8
    assert not profile[2:6].any()


def test_a_cube_comes_out_the_same_along_every_axis(tmp_path: Path) -> None:
    volumes = arrays((16, 16, 16))
    turned = {k: v.transpose(0, 2, 3, 1) if "images" in k else v for k, v in volumes.items()}
    (tmp_path / "turned").mkdir()
    paths = written(tmp_path, volumes), written(tmp_path / "turned", turned)
    seen = [next(iter(ready(p, image_size=[8] * 3).test_dataloader()))["image"] for p in paths]
    # two roundings to 1/255, in another order
    torch.testing.assert_close(seen[0].permute(0, 1, 3, 4, 2), seen[1], atol=2 / 255, rtol=0)


def test_windows_of_slices_where_depth_is_kept(tmp_path: Path) -> None:
    volumes = arrays((20, 8, 8))
    path = written(tmp_path, volumes)
    data = ready(path, image_size=[8, 8, 8], resample_depth=False, window_stride=6)
    assert data.sample_ids("train")[:3] == ["train/0/0", "train/0/6", "train/0/12"]
    batch = next(iter(data.test_dataloader()))
    np.testing.assert_allclose(
        batch["image"][1, 0], volumes["test_images"][0, 6:14] / 255, atol=1e-6
    )
    assert batch["study"][:4].tolist() == [0, 0, 0, 1]


def test_black_and_white_are_as_said(tmp_path: Path) -> None:
    volumes = arrays((8, 8, 8))
    path = written(tmp_path, volumes)
    raw = volumes["test_images"][0].astype(np.float64)
    for window in ([50, 150], None):
        low, high = np.percentile(raw, [0.5, 99.5]) if window is None else window
        data = ready(path, image_size=[8, 8, 8], hu_window=window)
        image = next(iter(data.test_dataloader()))["image"][0, 0]
        np.testing.assert_allclose(image, ((raw - low) / (high - low)).clip(0, 1), atol=1e-5)


def test_a_volume_without_contrast_is_named_and_kept(tmp_path: Path) -> None:
    volumes = arrays()
    volumes["val_images"][2] = 0
    data = ready(written(tmp_path, volumes), image_size=[8, 8, 8])
    assert data.notes[1] == "1 volumes hold one value alone: 'val/2'."
    assert len(data.sample_ids("val")) == 4


def test_a_copy_in_two_splits_is_dropped_from_training_with_a_note(tmp_path: Path) -> None:
    volumes = arrays()
    volumes["train_images"][2] = volumes["test_images"][1]
    path = written(tmp_path, volumes)
    data = ready(path, image_size=[8, 8, 8])
    assert data.sample_ids("train") == ["train/0/0", "train/1/0", "train/3/0"]
    assert "train/2 (train) = test/1 (test)" in data.notes[1]
    with pytest.raises(DataError, match=r"train/2 \(train\) = test/1 \(test\)"):
        ready(path, image_size=[8, 8, 8], on_duplicate="raise")


def test_the_disk_cache_knows_the_depth(tmp_path: Path) -> None:
    path = written(tmp_path, arrays())
    for slices in (8, 10, 8):
        data = ready(path, image_size=[slices, 8, 8], cache="disk", cache_dir=tmp_path / "cache")
        assert next(iter(data.val_dataloader()))["image"].shape == (4, 1, slices, 8, 8)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 24


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((12, 12), r"uint8 of shape \(N, D, H, W\), got uint8 \(4, 12, 12\). Choose data=npz\.$"),
        ((12, 12, 3), r"got uint8 \(4, 12, 12, 3\). Choose data=npz\.$"),
        ((8, 8, 8, 3), r"got uint8 \(4, 8, 8, 8, 3\)\.$"),
        ((0, 8, 8), r"got uint8 \(4, 0, 8, 8\)\.$"),
    ],
)
def test_other_shapes_are_named(tmp_path: Path, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(DataError, match=text):
        ready(written(tmp_path, arrays(shape)))


def test_what_a_file_lacks_is_named(tmp_path: Path) -> None:
    volumes = arrays()
    path = written(tmp_path, volumes | {"val_images": volumes["val_images"].astype(np.float32)})
    with pytest.raises(DataError, match=r"val_images must be uint8 .* got float32"):
        ready(path)
    del volumes["val_images"]
    with pytest.raises(DataError, match="no val_images; it must hold"):
        ready(written(tmp_path, volumes))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"path": None}, "data.path must name"),
        ({"resample_depth": "yes"}, "data.resample_depth must be true or false, got 'yes'"),
        ({"window_stride": 4}, "data.window_stride=4 needs data.resample_depth=false"),
        ({"image_size": 32}, r"data.image_size must be \[slices, height, width\]"),
        ({"hu_window": [255, 0]}, "data.hu_window must be given as"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        data_of(Npz3dSource, **{"path": written(tmp_path, arrays())} | options)


def test_real_adrenal_glands(request: pytest.FixtureRequest) -> None:
    path = request.config.rootpath.parent / "shared" / "data" / "adrenalmnist3d_64.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    data = ready(path, image_size=[16, 16, 16])
    assert [len(data.sample_ids(split)) for split in ("train", "val", "test")] == [1188, 98, 298]
    assert [int(data.labels(split).sum()) for split in ("train", "val", "test")] == [259, 22, 69]
    assert len(data.notes) == 1  # no volume comes twice, none is blank
    image = next(iter(data.test_dataloader()))["image"]
    with np.load(path) as file:
        volumes = file["test_images"][: len(image)]
    # the triangle filter keeps what is in each part of the volume
    assert abs(image.mean() - volumes.mean() / 255) < 2e-3

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.data.making import data_of
from ttl_lightning.config import compose as config
from ttl_lightning.data.sources.medmnist import MedMNIST3dSource
from ttl_lightning.data.transforms import Augment
from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.runs.fingerprint import identity

medmnist = pytest.importorskip("medmnist")

STILL = {
    "augment": Augment(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0),
    "mean": [0.0],
    "std": [1.0],
    "in_channels": 1,
}


@pytest.fixture(params=[28, 64])
def downloaded(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, int]:
    """A small file in the place of the download, with its checksum made known to the package."""
    size, rng = request.param, np.random.default_rng(0)
    data = {}
    for split in ("train", "val", "test"):
        data[f"{split}_images"] = rng.integers(0, 256, (4, size, size, size), dtype=np.uint8)
        data[f"{split}_labels"] = np.array([[0], [1]] * 2, np.uint8)
    suffix = "" if size == 28 else f"_{size}"
    path = tmp_path / f"adrenalmnist3d{suffix}.npz"
    np.savez(path, **data)
    checksum = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(medmnist.INFO["adrenalmnist3d"], f"MD5{suffix}", checksum)
    return path, size


def test_the_volumes_are_those_of_the_file(downloaded) -> None:
    path, size = downloaded
    data = data_of(
        MedMNIST3dSource, path=path.parent, source_size=size, image_size=[size] * 3, **STILL
    )
    data.prepare_data()
    data.setup()
    assert (data.class_names, data.exclusive) == (("normal", "hyperplasia"), True)
    assert data.notes == ["MedMNIST gives no patient ids: its official splits are taken as given."]
    batch = next(iter(data.test_dataloader()))
    with np.load(path) as file:
        np.testing.assert_allclose(batch["image"][:, 0], file["test_images"] / 255, atol=1e-5)
        np.testing.assert_array_equal(batch["label"], file["test_labels"][:, 0])


def test_a_run_is_known_by_the_checksum(downloaded) -> None:
    path, size = downloaded
    cfg, _ = config.read([
        "data=medmnist", "data.dataset=adrenalmnist3d", f"data.source_size={size}",
        f"data.path={path.parent}", "backbone=resnet3d_10", "backbone.weights=null",
    ])  # fmt: skip
    assert identity(config.values_of(cfg))["content"] == {
        "md5": hashlib.md5(path.read_bytes()).hexdigest()
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"dataset": "adrenal3d"},
            "unknown data.dataset 'adrenal3d'; did you mean 'adrenalmnist3d",
        ),
        ({"dataset": "pneumoniamnist"}, "holds images, and data=medmnist3d takes volumes: choose "),
        ({"source_size": 128}, r"data\.source_size must be one of 28, 64, got 128\."),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        data_of(MedMNIST3dSource, **options)


def test_a_failed_download_says_where_the_file_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets.utils as downloads

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(downloads, "download_url", refuse)
    with pytest.raises(DataError, match=r"could not be downloaded .* put adrenalmnist3d_64\.npz"):
        data_of(MedMNIST3dSource, path=tmp_path, source_size=64).prepare_data()

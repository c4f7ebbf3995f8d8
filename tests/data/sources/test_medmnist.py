from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data.making import data_of
from ttl_lightning.data.sources.medmnist import MedMNISTSource
from ttl_lightning.errors import ConfigError, DataError

medmnist = pytest.importorskip("medmnist")


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file in the place of the download, with its checksum made known to the package."""
    rng = np.random.default_rng(0)
    data = {}
    for split in ("train", "val", "test"):
        data[f"{split}_images"] = rng.integers(0, 256, (6, 28, 28), dtype=np.uint8)
        data[f"{split}_labels"] = np.array([[0], [1]] * 3, np.uint8)
    path = tmp_path / "pneumoniamnist.npz"
    np.savez_compressed(path, **data)
    monkeypatch.setitem(
        medmnist.INFO["pneumoniamnist"], "MD5", hashlib.md5(path.read_bytes()).hexdigest()
    )
    return tmp_path


def test_names_and_splits_come_from_the_package(downloaded: Path) -> None:
    data = data_of(MedMNISTSource, path=downloaded, image_size=28, eval_view="whole")
    data.prepare_data()
    data.setup()
    assert (data.class_names, data.exclusive) == (("normal", "pneumonia"), True)
    assert len(data.labels("val")) == 6
    assert data.notes == ["MedMNIST gives no patient ids: its official splits are taken as given."]


def test_a_failed_download_says_where_the_file_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets.utils as downloads

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(downloads, "download_url", refuse)
    with pytest.raises(
        DataError,
        match=r"data.dataset=pneumoniamnist could not be downloaded to .* put pneumoniamnist_64",
    ):
        data_of(MedMNISTSource, path=tmp_path, source_size=64).prepare_data()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"dataset": "pneumonia"},
            "unknown data.dataset 'pneumonia'; did you mean 'pneumoniamnist'",
        ),
        (
            {"dataset": "organmnist3d"},
            "data.dataset=organmnist3d holds volumes, .* choose data=medmnist3d",
        ),
        ({"source_size": 32}, "data.source_size must be one of 28, 64, 128, 224, got 32"),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        data_of(MedMNISTSource, **options)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "medmnist.info")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'ttl_lightning\[medmnist\]'"):
        data_of(MedMNISTSource)


def test_what_the_package_knows_is_had_without_torch() -> None:
    script = (
        "import sys; from ttl_lightning.data.sources.medmnist import MedMNISTSource;"
        "print(MedMNISTSource().classes, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "['normal', 'pneumonia'] False\n", done.stderr

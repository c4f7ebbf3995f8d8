from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.data.making import data_of
from ttl_lightning.data.sources.npz import NO_PATIENTS, NpzSource, load_file
from ttl_lightning.errors import ConfigError, DataError


def arrays(labels: np.ndarray | None = None, shape: tuple[int, ...] = (12, 12)) -> dict:
    rng = np.random.default_rng(0)
    given = np.array([[0], [1], [0], [1]], np.uint8) if labels is None else labels
    return {
        key: value
        for split in ("train", "val", "test")
        for key, value in (
            (f"{split}_images", rng.integers(0, 256, (len(given), *shape), dtype=np.uint8)),
            (f"{split}_labels", given),
        )
    }


def written(path: Path, data: dict) -> Path:
    np.savez_compressed(path, **data)
    return path


@pytest.mark.parametrize(
    ("labels", "exclusive", "classes"),
    [
        (np.array([[0], [1], [0], [1]], np.uint8), True, 2),
        (np.array([0, 1, 0, 1]), True, 2),
        (np.array([[0], [1], [2], [3]], np.uint8), True, 4),
        (np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]], np.uint8), False, 3),
    ],
)
@pytest.mark.parametrize("shape", [(12, 12), (12, 10, 3)])
def test_labels_and_colour(tmp_path: Path, labels, exclusive: bool, classes: int, shape) -> None:
    data = data_of(NpzSource, path=written(tmp_path / "x.npz", arrays(labels, shape)), image_size=8)
    data.setup()
    assert (data.exclusive, data.num_classes) == (exclusive, classes)
    assert data.class_names == tuple(str(i) for i in range(classes))
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (4, 3, 8, 8)
    if not exclusive:
        assert batch["label"].dtype.is_floating_point
        np.testing.assert_array_equal(batch["label"], labels)
    else:
        np.testing.assert_array_equal(batch["label"], labels.reshape(-1))


def test_classes_name_the_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "x.npz", arrays())
    data = data_of(NpzSource, path=path, classes=["normal", "pneumonia"])
    data.setup()
    assert data.class_names == ("normal", "pneumonia")
    with pytest.raises(DataError, match=r"1 classes|at least two classes"):
        data_of(NpzSource, path=path, classes=["normal"]).setup()


def test_a_copy_in_two_splits_is_dropped_from_training_with_a_note(tmp_path: Path) -> None:
    data = arrays()
    data["train_images"][2] = data["test_images"][1]
    module = data_of(NpzSource, path=written(tmp_path / "x.npz", data))
    module.setup()
    assert module.sample_ids("train") == ["train/0", "train/1", "train/3"]
    assert any("train/2 (train) = test/1 (test)" in note for note in module.notes)
    with pytest.raises(DataError, match=r"train/2 \(train\) = test/1 \(test\)"):
        data_of(NpzSource, path=tmp_path / "x.npz", on_duplicate="raise").setup()


def without(key: str) -> dict:
    return {name: value for name, value in arrays().items() if name != key}


FLOATS = np.full((4, 12, 12), 0.5, np.float32)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (without("val_labels"), "no val_labels; it must hold train_images, train_labels"),
        (arrays() | {"val_labels": np.zeros((3, 1), np.uint8)}, "4 val_images, 3 val_labels"),
        (
            arrays() | {"test_images": FLOATS},
            r"test_images must be uint8 .* got float32 \(4, 12, 12",
        ),
        (
            arrays(shape=(8, 8, 8)),
            r"train_images must be uint8 .* got uint8 \(4, 8, 8, 8\)\. Choose data=npz3d\.",
        ),
        (
            arrays() | {"val_images": np.zeros((4, 9, 9), np.uint8)},
            "images differ in shape between",
        ),
        (arrays() | {"val_labels": np.zeros((4, 2), np.uint8)}, "labels differ in shape between"),
        (arrays() | {"val_labels": np.array(["a"] * 4)}, "val_labels must be numbers"),
        (arrays() | {"val_labels": np.full(4, 0.5)}, "val_labels must be whole numbers"),
        (arrays() | {"train_labels": np.array([{}] * 4, object)}, "cannot read .* Object arrays"),
        (arrays(np.zeros((4, 1), np.uint8)), "at least two classes"),
    ],
)
def test_bad_arrays_are_named(tmp_path: Path, data: dict, text: str) -> None:
    path = written(tmp_path / "x.npz", data)
    with pytest.raises(DataError, match=text) as caught:
        load_file(path, "npz", None, NO_PATIENTS)
    assert str(path) in str(caught.value) or "classes" in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.array([0, 2, 0, 2]), "no training sample of class '1'"),
        (np.array([0, 1, 0, -1]), "labels run from 0 to 1, but 3 of 12 do not, such as -1"),
        (
            np.array([[0, 1], [1, 0], [0, 2], [1, 1]]),
            "labels of which several may hold must be 0, 1 or NaN, got 2",
        ),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, labels: np.ndarray, text: str) -> None:
    with pytest.raises(DataError, match=text):
        data_of(NpzSource, path=written(tmp_path / "x.npz", arrays(labels))).setup()


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"cannot read .*x\.npy as an \.npz file"):
        load_file(tmp_path / "x.npy", "npz", None, NO_PATIENTS)
    path = written(tmp_path / "x.npz", arrays())
    whole = path.read_bytes()
    for data in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"cannot read .*x\.npz as an \.npz file: "):
            load_file(path, "npz", None, NO_PATIENTS)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_does_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "x.npz").write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(DataError, match="cannot read"):
        load_file(tmp_path / "x.npz", "npz", None, NO_PATIENTS)
    hidden = np.empty(4, object)
    hidden[:] = [Canary(canary)] * 4
    np.savez(tmp_path / "y.npz", **arrays() | {"train_labels": hidden})
    with pytest.raises(DataError, match="cannot read"):
        load_file(tmp_path / "y.npz", "npz", None, NO_PATIENTS)
    assert not canary.exists()


def test_a_path_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.path must name"):
        data_of(NpzSource)
    with pytest.raises(DataError, match=r"data.path: no such file or folder"):
        data_of(NpzSource, path=tmp_path / "x.npz")


def test_real_x_rays(request: pytest.FixtureRequest) -> None:
    path = request.config.rootpath.parent / "shared" / "data" / "pneumoniamnist.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    data = data_of(NpzSource, path=path, image_size=28)
    data.setup()
    assert (data.num_classes, len(data.labels("val")), len(data.labels("test"))) == (2, 524, 624)
    assert data.labels("test").sum() == 390
    assert any("left out" in note for note in data.notes)


def _with_header(path: Path, key: str, shape: tuple[int, ...]) -> None:
    """An array whose header promises another shape than the file holds."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    parts[f"{key}.npy"] = content.getvalue() + bytes(64)
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


@pytest.mark.parametrize("shape", [(10**15,), (4, 10**6, 10**6), (4, 1000, 1000)])
def test_a_header_that_promises_too_much_takes_no_memory(shape, tmp_path: Path) -> None:
    path = written(tmp_path / "x.npz", arrays())
    _with_header(path, "train_images", shape)
    tracemalloc.start()
    with pytest.raises(DataError, match="train_images promises") as caught:
        load_file(path, "npz", None, NO_PATIENTS)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "method", "text"), [(1, 0, "is encrypted"), (0, 12, "NumPy does not write")]
)
def test_members_that_numpy_does_not_write(flag, method, text, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    for signature, flags, kind in ((b"PK\3\4", 6, 8), (b"PK\1\2", 8, 10)):
        start = content.index(signature)
        content[start + flags] |= flag
        content[start + kind] = method
    path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        load_file(path, "npz", None, NO_PATIENTS)


@pytest.mark.parametrize("label", [1_000_000, 2**40, 1e300, -5])
def test_a_label_that_is_no_class_number(label: float, tmp_path: Path) -> None:
    labels = np.array([[0], [1], [0], [label]], np.float64)
    tracemalloc.start()
    with pytest.raises(DataError):
        data_of(NpzSource, path=written(tmp_path / "x.npz", arrays(labels)), image_size=8).setup()
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        data_of(NpzSource, path=tmp_path / "x.npz")


def with_header(path: Path, name: str, old: bytes, new: bytes) -> None:
    """Changes an array's header in an unpacked archive; the checksum stays what it was."""
    content = path.read_bytes()
    start = content.index(f"{name}.npy".encode())
    at = content.index(old, start)
    path.write_bytes(content[:at] + new + content[at + len(old) :])


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        # NumPy reads as much as the header says, and zipfile compares the checksum at the end only
        (b"(4, 40, 40)", b"(4, 40, 10)", "promises 1,600 bytes and holds 6,400"),
        (b"(4, 40, 40), }", b"(4, 40, 40,(( ", ""),  # Python's tokenizer: TokenError
        (b"'fortran_order'", b"'fortran\\8rder'", ""),  # an escape that is none
    ],
)
def test_a_damaged_header_of_an_array(
    tmp_path: Path, old: bytes, new: bytes, text: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **arrays(shape=(40, 40)))
    for split in ("train", "val", "test"):
        with_header(path, f"{split}_images", old, new)
    with pytest.raises(DataError, match=rf"cannot read .*x\.npz as an .npz file: .*{text}"):
        NpzSource(path=path).load(8)
    assert not recwarn.list


def test_classes_that_are_none_name_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "x.npz", arrays(np.zeros(4, np.uint8)))
    with pytest.raises(DataError, match=r"x\.npz: at least two classes, each once, are needed"):
        NpzSource(path=path).load(8)

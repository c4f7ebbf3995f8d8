from __future__ import annotations

import builtins
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.make_volumes import phantom
from ttl_lightning.data.readers.archive import ArchiveStudies, study_names
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError

STUDIES = {"12": phantom((3, 4, 5)), "7": phantom((6, 4, 5))[::-1].copy()}


def write(path: Path, **studies: Any) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, **studies)
        return path
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, voxels in studies.items():
            file.create_dataset(name, data=voxels, chunks=(2, 3, 3) if name == "7" else None)
    return path


@pytest.fixture(params=["x.npz", "x.h5", "x.HDF5"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path / request.param, **STUDIES)


def error_of(path: Path, name: str) -> str:
    with pytest.raises(DataError) as caught:
        ArchiveStudies(path, [name]).read(0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_studies_as_they_are_stored(archive: Path) -> None:
    assert study_names(archive) == ["12", "7"]
    studies = ArchiveStudies(archive, ["7", "12"])
    assert len(studies) == 2
    for row, name in enumerate(("7", "12")):
        read = studies.read(row)
        assert read.pixels.dtype == np.int16
        np.testing.assert_array_equal(read.pixels, STUDIES[name])
        assert np.isnan(read.spacing_mm).all()


def test_one_study_is_read_without_the_others(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npz", **STUDIES)
    raw = bytearray(path.read_bytes())
    raw[60:70] = b"\xff" * 10  # within the first study
    path.write_bytes(raw)
    assert error_of(path, "12").startswith(f"cannot read {path}/12: ")
    np.testing.assert_array_equal(ArchiveStudies(path, ["7"]).read(0).pixels, STUDIES["7"])
    assert study_names(path) == ["12", "7"]


def test_groups_are_part_of_the_name(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["site/a/1"] = phantom()
        file["site/link"] = h5py.SoftLink("/site/a/1")
        file["outside"] = h5py.ExternalLink("other.h5", "/1")
    assert study_names(path) == ["site/a/1"]
    np.testing.assert_array_equal(ArchiveStudies(path, ["site/a/1"]).read(0).pixels, phantom())
    assert error_of(path, "site/a") == (
        f"cannot read {path}/site/a: a study is numbers of shape (slices, rows, columns), "
        "got a group ()."
    )


def test_fractions_are_kept(tmp_path: Path) -> None:
    voxels = phantom().astype(np.float64) / 4
    for name in ("x.npz", "x.h5"):
        read = ArchiveStudies(write(tmp_path / name, a=voxels), ["a"]).read(0)
        assert read.pixels.dtype == np.float32
        np.testing.assert_array_equal(read.pixels, voxels)


@pytest.mark.parametrize("name", ["x.npz", "x.h5"])
@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (
            np.zeros((3, 4), np.int16),
            "a study is numbers of shape (slices, rows, columns), got int16 (3, 4).",
        ),
        (
            np.zeros((3, 4, 5), bool),
            "a study is numbers of shape (slices, rows, columns), got bool (3, 4, 5).",
        ),
        (np.zeros((0, 4, 5), np.int16), "it has no voxels, shape (0, 4, 5)."),
        (np.full((2, 1, 1), np.nan), "2 voxels are NaN or infinite."),
    ],
)
def test_what_is_no_study(tmp_path: Path, name: str, stored: np.ndarray, said: str) -> None:
    path = write(tmp_path / name, a=stored)
    assert error_of(path, "a") == f"cannot read {path}/a: {said}"


def test_a_study_that_is_not_there(archive: Path) -> None:
    assert error_of(archive, "13") == f"cannot read {archive}/13: there is no such study."


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    objects = np.empty((1, 1, 1), object)
    objects[0, 0, 0] = Trap()
    path = tmp_path / "x.npz"
    np.savez(path, a=objects)
    assert "allow_pickle=False" in error_of(path, "a")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["x.npz", "x.h5"])
def test_damaged_and_empty_archives(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, **STUDIES)
    whole = path.read_bytes()
    for kept in (len(whole) // 2, 0):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=rf"^cannot read {path}: "):
            study_names(path)
        assert error_of(path, "7").startswith(f"cannot read {path}/7: ")
    with pytest.raises(DataError, match=r"x\..*: it holds no studies\."):
        study_names(write(tmp_path / name))
    path.unlink()
    with pytest.raises(DataError, match=rf"cannot read {path}: .*[Nn]o such file"):
        study_names(path)


@pytest.mark.parametrize("shape", [(10**6, 10**4, 10**4), (400, 1000, 1000)])
def test_a_data_set_that_was_never_written_takes_no_memory(shape, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", shape=shape, dtype="int16", chunks=(1, 100, 100))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"x\.h5/a: it promises"):
        ArchiveStudies(tmp_path / "x.h5", ["a"]).read(0)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_an_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", phantom())
    path = (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz: it is no \.npz archive\."):
        study_names(path)


def test_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'x\.zip'.* Allowed: \.npz, \.h5, \.hdf5\."):
        study_names(tmp_path / "x.zip")


def test_the_fingerprint_follows_file_and_name(archive: Path) -> None:
    studies = ArchiveStudies(archive, ["7", "12"])
    first = studies.fingerprint(0)
    assert first == studies.fingerprint(0) != studies.fingerprint(1)
    os.utime(archive, (1, 1))
    assert studies.fingerprint(0) != first
    archive.unlink()
    with pytest.raises(DataError, match=rf"cannot read {archive}: "):
        studies.fingerprint(0)


def test_h5py_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *args: Any, **kwargs: Any) -> Any:
        if module == "h5py":
            raise ImportError(module)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"needs h5py: pip install 'ttl_lightning\[volumes\]'"):
        study_names(tmp_path / "x.h5")


def test_a_study_that_says_that_it_is_smaller_than_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=phantom((9, 30, 20)))
    content = path.read_bytes()
    assert content.count(b"(9, 30, 20)") == 1
    path.write_bytes(content.replace(b"(9, 30, 20)", b"(9, 10, 20)"))
    assert "a promises 3,600 bytes and holds 10,800" in error_of(path, "a")

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ttl_lightning.data.store import pixel_hash
from ttl_lightning.data.volume_store import VolumeStore, fit_slices
from ttl_lightning.errors import DataError

CACHES = ("memory", "disk", "none")


def scanned(reader, cache: str, folder: Path, size: int = 20, fit: str = "crop") -> VolumeStore:
    store = VolumeStore(reader, size, cache, folder, fit)
    store.scan("raise", 0)
    return store


@pytest.mark.parametrize("cache", CACHES)
def test_a_window_is_the_sources_slices(array_studies, cache: str, tmp_path: Path) -> None:
    store = scanned(array_studies, cache, tmp_path)
    for row, (start, length) in enumerate([(0, 7), (1, 2), (5, 4), (2, 1)]):
        # 20 × 26 pixels at a size of 20: nothing is resized, the middle is kept
        expected = array_studies.volumes[row][start : start + length, :, 3:23]
        window = store.window(row, start, length)
        assert window.dtype == np.int16
        np.testing.assert_array_equal(window, expected)
    assert store.window(1, 1, 9).shape == (2, 20, 20)


def test_slices_are_resized_as_torch_does() -> None:
    rng = np.random.default_rng(0)
    voxels = rng.normal(0, 300, (3, 30, 44)).astype(np.float32)
    fitted = fit_slices(voxels, 15, "crop", 0)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(voxels)[:, None], size=(15, 22), mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(fitted, resized[:, 0, :, 3:18].numpy(), atol=1e-3)
    whole = fit_slices(np.rint(voxels).astype(np.int16), 15, "crop", 0)
    assert whole.dtype == np.int16
    assert np.abs(whole - fitted).max() < 1.5


@pytest.mark.parametrize(
    ("kind", "kept"),
    [(np.int16, np.int16), (np.uint8, np.int16), (np.float32, np.float32), (np.int32, np.float32)],
)
def test_what_fits_sixteen_bits_is_kept_so(kind: type, kept: type) -> None:
    voxels = np.full((2, 9, 9), 100, kind)
    assert fit_slices(voxels, 9, "crop", 0).dtype == kept
    assert (fit_slices(voxels, 5, "crop", 0) == 100).all()


@pytest.mark.parametrize("cache", CACHES)
def test_how_often_a_study_is_read(array_studies, cache: str, tmp_path: Path) -> None:
    store = scanned(array_studies, cache, tmp_path)
    for _ in range(3):
        store.window(2, 4, 4)
    assert array_studies.reads == (7 if cache == "none" else 4)
    again = scanned(array_studies, cache, tmp_path)
    assert array_studies.reads == {"memory": 8, "disk": 4, "none": 11}[cache]
    assert again.facts(2) == store.facts(2)


def test_facts(array_studies, tmp_path: Path) -> None:
    for cache in CACHES:
        facts = scanned(array_studies, cache, tmp_path).facts(2)
        stored = array_studies.volumes[2][:, :, 3:23]
        assert facts.shape == (12, 20, 20)
        assert facts.hash == pixel_hash(stored)
        assert [facts.low, facts.high] == np.percentile(stored, [0.5, 99.5]).tolist()


def test_the_disk_cache_knows_size_and_version(array_studies, tmp_path: Path) -> None:
    scanned(array_studies, "disk", tmp_path)
    scanned(array_studies, "disk", tmp_path, size=12)
    assert array_studies.reads == 8
    array_studies.version = 1
    store = scanned(array_studies, "disk", tmp_path)
    assert array_studies.reads == 12
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".npy", ".json"}
    assert len(files) == 24
    assert store.megabytes() == pytest.approx(29 * 20 * 20 * 2 / 1e6, abs=1e-3)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".npy", b"\x93NUMPY"), (".json", b"{"), (".json", b"[]"), (".json", b'{"shape": [1]}')],
)
def test_a_damaged_cache_file_is_made_again(
    array_studies, suffix: str, content: bytes, tmp_path: Path
) -> None:
    whole = scanned(array_studies, "disk", tmp_path).window(2, 0, 12).copy()
    damaged = list(tmp_path.rglob(f"*{suffix}"))
    for path in damaged:
        path.write_bytes(content)
    for _ in range(2):
        store = scanned(array_studies, "disk", tmp_path)
        assert array_studies.reads == 8
        np.testing.assert_array_equal(store.window(2, 0, 12), whole)


def test_a_file_that_is_cut_off_during_a_run_is_made_again(array_studies, tmp_path: Path) -> None:
    store = scanned(array_studies, "disk", tmp_path)
    whole = store.window(0, 2, 4).copy()
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:900])
    np.testing.assert_array_equal(store.window(0, 2, 4), whole)
    assert array_studies.reads == 5
    np.testing.assert_array_equal(store.window(0, 2, 4), whole)
    assert array_studies.reads == 5


def test_a_study_that_changes_during_a_run_is_an_error(array_studies, tmp_path: Path) -> None:
    store = scanned(array_studies, "disk", tmp_path)
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    array_studies.volumes[0] = array_studies.volumes[0][:3]
    with pytest.raises(DataError, match=r"\.npy: the study has changed since the run began"):
        store.window(0, 2, 4)


@pytest.mark.parametrize("cache", CACHES)
def test_bars_are_as_black_as_the_study_gets(array_studies, cache: str, tmp_path: Path) -> None:
    array_studies.volumes[2][7, 3, 4] = -2000  # in a slice that the window does not have
    for _ in range(2):  # the second time from the cache, where there is one
        store = scanned(array_studies, cache, tmp_path, 26, "pad")
        window = store.window(2, 0, 4)
        assert (window[:, [0, 1, 2, -3, -2, -1]] == -2000).all()
        np.testing.assert_array_equal(window[:, 3:23], array_studies.volumes[2][:4])
        assert store.facts(2).sides == (20, 26)


@pytest.mark.parametrize("cache", CACHES)
def test_a_scan_knows_the_slices_sides(array_studies, cache: str, tmp_path: Path) -> None:
    for fit in ("squash", "pad"):
        for _ in range(2):
            scan = VolumeStore(array_studies, 12, cache, tmp_path, fit).scan("raise", 0)
            assert scan.sides.tolist() == [[20, 26]] * 4
    if cache == "disk":
        assert array_studies.reads == 8, "the other way to make squares is not in the cache"


def test_mixed_types_share_one_tensor(array_studies, tmp_path: Path) -> None:
    array_studies.volumes[1] = np.full((3, 20, 20), 0.25, np.float32)
    store = scanned(array_studies, "memory", tmp_path)
    assert store.window(1, 0, 3).dtype == np.float32
    assert (store.window(1, 0, 3) == 0.25).all()
    np.testing.assert_array_equal(store.window(3, 0, 7), array_studies.volumes[3][:, :, 3:23])


def test_bad_studies_are_raised_or_counted(array_studies, tmp_path: Path) -> None:
    array_studies.volumes[1] = array_studies.volumes[2] = None
    for cache in CACHES:
        with pytest.raises(DataError, match=r"cannot read study 1\."):
            VolumeStore(array_studies, 20, cache, tmp_path, "crop").scan("raise", 5)
        store = VolumeStore(array_studies, 20, cache, tmp_path, "crop")
        scan = store.scan("skip", 2)
        assert scan.bad == {1: "cannot read study 1.", 2: "cannot read study 2."}
        assert [bool(key) for key in scan.hashes] == [True, False, False, True]
        np.testing.assert_array_equal(store.window(3, 0, 7), array_studies.volumes[3][:, :, 3:23])
        with pytest.raises(
            DataError, match=r"2 studies cannot be read, data.max_bad allows 1: can"
        ):
            VolumeStore(array_studies, 20, cache, tmp_path, "crop").scan("skip", 1)
    assert store.megabytes() == 0


def test_an_unwritable_cache_folder_is_named(array_studies, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data.cache_dir: cannot write .*file"):
        scanned(array_studies, "disk", tmp_path / "file")


@pytest.mark.parametrize("cache", CACHES)
def test_a_store_can_go_to_other_processes(array_studies, cache: str, tmp_path: Path) -> None:
    store = scanned(array_studies, cache, tmp_path)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.window(2, 3, 4), store.window(2, 3, 4))

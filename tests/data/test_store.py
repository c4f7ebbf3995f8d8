from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttl_lightning.data import store as store_module
from ttl_lightning.data.content import pixel_hash
from ttl_lightning.data.readers.base import ArrayImages
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.store import Store
from ttl_lightning.data.views.fit import ImageForm, VolumeForm
from ttl_lightning.errors import DataError

CACHES = ("memory", "disk", "none")


def scanned(reader, cache: str, folder: Path, size: int = 20, fit: str = "crop") -> Store:
    store = Store(reader, VolumeForm(size, fit), cache, folder)
    store.scan("raise", 0, "studies")
    return store


def of_images(reader, cache: str, folder: Path, size: int = 16, channels: int = 3) -> Store:
    store = Store(reader, ImageForm(size, channels), cache, folder)
    store.scan("raise", 0, "images")
    return store


@pytest.mark.parametrize(
    ("cache", "after_one", "after_two"), [("memory", 7, 14), ("disk", 7, 7), ("none", 21, 42)]
)
def test_how_often_an_image_is_decoded(
    counting_images, cache: str, after_one: int, after_two: int, tmp_path: Path
) -> None:
    for reads in (after_one, after_two):
        store = of_images(counting_images, cache, tmp_path)
        for _ in range(2):
            for row in range(7):
                store.read(row)
        assert counting_images.reads == reads
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == (7 if cache == "disk" else 0)
    assert {path.suffix for path in files} <= {".npy"}


def test_another_size_is_another_file(counting_images, tmp_path: Path) -> None:
    of_images(counting_images, "disk", tmp_path)
    of_images(counting_images, "disk", tmp_path, 12)
    assert counting_images.reads == 14


def test_caches_agree_bit_by_bit(counting_images, tmp_path: Path) -> None:
    seen = []
    for cache in CACHES:
        store = of_images(counting_images, cache, tmp_path)
        seen.append(np.stack([store.read(row) for row in range(7)]))
    assert seen[0].shape == (7, 1, 16, 16)
    for other in seen[1:]:
        np.testing.assert_array_equal(other, seen[0])


class OneAtATime(FileImages):
    """Counts how many of its images wait to be kept, which are decoded and not yet given back."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__(paths)
        self.alive, self.most, self._lock = 0, 0, threading.Lock()

    def read(self, row: int) -> Reading:
        with self._lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
        return super().read(row)


def test_a_slow_store_is_not_overrun_by_its_decoders(write_images, tmp_path: Path) -> None:
    reader = OneAtATime(write_images([f"{i}.png" for i in range(80)]))
    store = Store(reader, ImageForm(16, 1), "none", tmp_path)
    for _ in store._looked_at():
        with reader._lock:
            reader.alive -= 1
    assert reader.most <= 2 * reader.decoders


def test_a_changed_file_is_decoded_again(write_images, tmp_path: Path) -> None:
    paths = write_images(["a.png", "b.png"])
    before = of_images(FileImages(paths), "disk", tmp_path / "cache", 16, 1)
    first = before.read(0).copy()
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(paths[0])
    np.testing.assert_array_equal(before.read(0), first)  # of the run that is under way
    after = of_images(FileImages(paths), "disk", tmp_path / "cache", 16, 1)
    assert (after.read(0) == 7).all()


@pytest.mark.parametrize(("kind", "top", "expected"), [
    (np.uint8, 255, 1.0), (np.uint16, 65535, 1.0), (np.uint16, 4095, 0.0625),
])  # fmt: skip
def test_the_part_of_the_range_that_is_filled(
    kind: type, top: int, expected: float, tmp_path: Path
) -> None:
    image = np.linspace(0, top, 10_000).reshape(1, 100, 100).astype(kind)
    image[0, 0, 0] = np.iinfo(kind).max  # one hot pixel changes nothing
    for _ in range(2):  # the second time from the cache
        spread = of_images(ArrayImages(image), "disk", tmp_path, 100, 1).facts(0).spread
        assert spread == pytest.approx(0.99 * expected, rel=0.01)


def test_bad_images_are_raised_or_counted(write_images, tmp_path: Path) -> None:
    paths = write_images([f"{i}.png" for i in range(6)])
    for i in (1, 4):
        paths[i].write_bytes(b"")
    reader = FileImages(paths)
    with pytest.raises(DataError, match=r"1\.png: the file has 0 bytes"):
        Store(reader, ImageForm(16, 1), "memory", tmp_path).scan("raise", 5, "images")
    bad = Store(reader, ImageForm(16, 1), "memory", tmp_path).scan("skip", 2, "images")
    assert sorted(bad) == [1, 4]
    with pytest.raises(DataError, match=r"2 images cannot be read, data.max_bad allows 1: cannot"):
        Store(reader, ImageForm(16, 1), "memory", tmp_path).scan("skip", 1, "images")


@pytest.mark.parametrize("cache", CACHES)
def test_the_sides_of_what_became_squares_are_known(cache: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 20), dtype=np.uint8)
    seen = []
    for fit in ("squash", "crop"):
        for _ in range(2):  # the second time from the cache, where there is one
            store = Store(ArrayImages(images), ImageForm(12, 1, fit), cache, tmp_path)
            store.scan("raise", 0, "images")
            assert [store.facts(row).sides for row in range(3)] == [(12, 20)] * 3
            seen.append(np.stack([store.read(row) for row in range(3)]))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2]), "from the cache of the other fit"
    np.testing.assert_array_equal(seen[3][:, 0], images[:, :, 4:16])


@pytest.mark.parametrize("chunk_bytes", [1, 20 * 20 * 2 * 12, 10**6])
def test_memory_holds_studies_of_all_lengths(
    array_studies, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_CHUNK_BYTES", chunk_bytes)
    array_studies.volumes[1] = None
    array_studies.volumes.append(np.full((2, 20, 20), 0.25, np.float32))
    array_studies.volumes.append(np.full((9, 20, 26), 7, np.int16))
    store = Store(array_studies, VolumeForm(20, "crop"), "memory", tmp_path)
    store.scan("skip", 1, "studies")
    for row in (0, 2, 3, 5):
        np.testing.assert_array_equal(store.read(row), array_studies.volumes[row][:, :, 3:23])
    assert (store.read(4) == 0.25).all()


@pytest.mark.parametrize("cache", CACHES)
def test_a_window_is_the_sources_slices(array_studies, cache: str, tmp_path: Path) -> None:
    store = scanned(array_studies, cache, tmp_path)
    for row, (start, length) in enumerate([(0, 7), (1, 2), (5, 4), (2, 1)]):
        # 20 × 26 pixels at a size of 20: nothing is resized, the middle is kept
        expected = array_studies.volumes[row][start : start + length, :, 3:23]
        window = store.read(row, slice(start, start + length))
        assert window.dtype == np.int16
        np.testing.assert_array_equal(window, expected)
    assert store.read(1, slice(1, 10)).shape == (2, 20, 20)


@pytest.mark.parametrize("cache", CACHES)
def test_how_often_a_study_is_read(array_studies, cache: str, tmp_path: Path) -> None:
    store = scanned(array_studies, cache, tmp_path)
    for _ in range(3):
        store.read(2, slice(4, 8))
    assert array_studies.reads == (5 if cache == "none" else 4)  # the last one is at hand
    again = scanned(array_studies, cache, tmp_path)
    assert array_studies.reads == {"memory": 8, "disk": 4, "none": 9}[cache]
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
    assert len(files) == 12
    assert store.megabytes() == pytest.approx(29 * 20 * 20 * 2 / 1e6, abs=2e-3)


def _without_facts(content: bytes) -> bytes:
    return content[: content.rindex(b"\n")]


def _of_another_kind(content: bytes) -> bytes:
    return _without_facts(content) + b'\n["not", "facts"]'


def _lacking_a_fact(content: bytes) -> bytes:
    facts = json.loads(content[content.rindex(b"\n") :])
    del facts["hash"]
    return _without_facts(content) + b"\n" + json.dumps(facts).encode()


def _without_its_middle(content: bytes) -> bytes:
    return content[:100] + content[content.rindex(b"\n") :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"\x93NUMPY", lambda content: content[:-1], lambda _: b"", lambda _: b"\n3",
        _without_facts, _of_another_kind, _lacking_a_fact, _without_its_middle,
    ],
)  # fmt: skip
def test_a_damaged_cache_file_is_made_again(array_studies, damage, tmp_path: Path) -> None:
    whole = scanned(array_studies, "disk", tmp_path).read(2).copy()
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        store = scanned(array_studies, "disk", tmp_path)
        assert array_studies.reads == 8
        np.testing.assert_array_equal(store.read(2), whole)


def test_a_file_that_is_cut_off_during_a_run_is_made_again(array_studies, tmp_path: Path) -> None:
    store = scanned(array_studies, "disk", tmp_path)
    whole = store.read(0, slice(2, 6)).copy()
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:900])
    np.testing.assert_array_equal(store.read(0, slice(2, 6)), whole)
    assert array_studies.reads == 5
    np.testing.assert_array_equal(store.read(0, slice(2, 6)), whole)
    assert array_studies.reads == 5


def test_a_study_that_changes_during_a_run_is_an_error(array_studies, tmp_path: Path) -> None:
    store = scanned(array_studies, "disk", tmp_path)
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    array_studies.volumes[0] = array_studies.volumes[0][:3]
    with pytest.raises(DataError, match=r"\.npy: the image or study has changed"):
        store.read(0, slice(2, 6))


@pytest.mark.parametrize("cache", CACHES)
def test_bars_are_as_black_as_the_study_gets(array_studies, cache: str, tmp_path: Path) -> None:
    array_studies.volumes[2][7, 3, 4] = -2000  # in a slice that the window does not have
    for _ in range(2):  # the second time from the cache, where there is one
        store = scanned(array_studies, cache, tmp_path, 26, "pad")
        window = store.read(2, slice(0, 4))
        assert (window[:, [0, 1, 2, -3, -2, -1]] == -2000).all()
        np.testing.assert_array_equal(window[:, 3:23], array_studies.volumes[2][:4])
        assert store.facts(2).sides == (20, 26)


@pytest.mark.parametrize("cache", CACHES)
def test_the_slices_sides_are_known(array_studies, cache: str, tmp_path: Path) -> None:
    for fit in ("squash", "pad"):
        for _ in range(2):
            store = scanned(array_studies, cache, tmp_path, 12, fit)
            assert [store.facts(row).sides for row in range(4)] == [(20, 26)] * 4
    if cache == "disk":
        assert array_studies.reads == 8, "the other way to make squares is not in the cache"


def test_each_study_keeps_its_type(array_studies, tmp_path: Path) -> None:
    array_studies.volumes[1] = np.full((3, 20, 20), 0.25, np.float32)
    store = scanned(array_studies, "memory", tmp_path)
    assert store.read(1, slice(0, 3)).dtype == np.float32
    assert (store.read(1, slice(0, 3)) == 0.25).all()
    np.testing.assert_array_equal(store.read(3, slice(0, 7)), array_studies.volumes[3][:, :, 3:23])


def test_bad_studies_are_raised_or_counted(array_studies, tmp_path: Path) -> None:
    array_studies.volumes[1] = array_studies.volumes[2] = None
    for cache in CACHES:
        with pytest.raises(DataError, match=r"cannot read study 1\."):
            Store(array_studies, VolumeForm(20, "crop"), cache, tmp_path).scan(
                "raise", 5, "studies"
            )
        store = Store(array_studies, VolumeForm(20, "crop"), cache, tmp_path)
        bad = store.scan("skip", 2, "studies")
        assert bad == {1: "cannot read study 1.", 2: "cannot read study 2."}
        np.testing.assert_array_equal(
            store.read(3, slice(0, 7)), array_studies.volumes[3][:, :, 3:23]
        )
        with pytest.raises(
            DataError, match=r"2 studies cannot be read, data.max_bad allows 1: can"
        ):
            Store(array_studies, VolumeForm(20, "crop"), cache, tmp_path).scan("skip", 1, "studies")
    assert store.megabytes() == 0


def test_an_unwritable_cache_folder_is_named(array_studies, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data.cache_dir: cannot write .*file"):
        scanned(array_studies, "disk", tmp_path / "file")


@pytest.mark.parametrize("cache", CACHES)
def test_a_store_can_go_to_other_processes(array_studies, cache: str, tmp_path: Path) -> None:
    store = scanned(array_studies, cache, tmp_path)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read(2, slice(3, 7)), store.read(2, slice(3, 7)))

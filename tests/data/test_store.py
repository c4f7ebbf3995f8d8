from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ttl_lightning.data.store import ArrayImages, FileImages, ImageStore, pixel_hash
from ttl_lightning.errors import DataError

ROWS = np.arange(7)


def test_memory_decodes_once(counting_images, tmp_path: Path) -> None:
    store = ImageStore(counting_images, 16, 3, "memory", tmp_path)
    store.scan("raise", 0)
    for _ in range(3):
        store.batch(ROWS)
    assert counting_images.reads == 7
    assert list(tmp_path.iterdir()) == []


def test_disk_decodes_once_over_runs(counting_images, tmp_path: Path) -> None:
    for _ in range(2):
        store = ImageStore(counting_images, 16, 3, "disk", tmp_path)
        store.scan("raise", 0)
        store.batch(ROWS)
    assert counting_images.reads == 7
    assert len(list(tmp_path.rglob("*.npy"))) == 7
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".npy"] == []
    ImageStore(counting_images, 12, 3, "disk", tmp_path).scan("raise", 0)
    assert counting_images.reads == 14


def test_none_decodes_each_time(counting_images, tmp_path: Path) -> None:
    store = ImageStore(counting_images, 16, 3, "none", tmp_path)
    store.scan("raise", 0)
    store.batch(ROWS)
    assert counting_images.reads == 14


def test_caches_agree_bit_by_bit(counting_images, tmp_path: Path) -> None:
    batches = []
    for cache in ("memory", "disk", "none"):
        store = ImageStore(counting_images, 16, 3, cache, tmp_path)
        store.scan("raise", 0)
        batches.append(store.batch(ROWS))
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[2])
    assert batches[0].shape == (7, 1, 16, 16)


def test_a_damaged_cache_file_is_decoded_again(counting_images, tmp_path: Path) -> None:
    store = ImageStore(counting_images, 16, 3, "disk", tmp_path)
    store.scan("raise", 0)
    whole = store.batch(ROWS)
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:150])
    assert torch.equal(store.batch(ROWS), whole)
    assert counting_images.reads == 14
    assert torch.equal(store.batch(ROWS), whole)
    assert counting_images.reads == 14


def test_a_changed_file_is_decoded_again(write_images, tmp_path: Path) -> None:
    paths = write_images(["a.png", "b.png"])
    store = ImageStore(FileImages(paths), 16, 1, "disk", tmp_path / "cache")
    before = store.batch(np.array([0]))
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(paths[0])
    after = store.batch(np.array([0]))
    assert not torch.equal(before, after)
    assert torch.equal(after, torch.full((1, 1, 16, 16), 7 / 255))


def test_an_unwritable_cache_folder_is_named(counting_images, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ImageStore(counting_images, 16, 1, "disk", tmp_path / "file")
    with pytest.raises(DataError, match=r"data.cache_dir: cannot write .*file"):
        store.scan("raise", 0)


def test_mixed_depth_and_colour_share_one_scale(tmp_path: Path) -> None:
    grey, deep = np.full((16, 16), 51, np.uint8), np.full((16, 16), 13107, np.uint16)
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[..., 0] = 255
    paths = [tmp_path / name for name in ("grey.png", "deep.png", "colour.png")]
    for path, pixels in zip(paths, (grey, deep, colour), strict=True):
        Image.fromarray(pixels).save(path)
    for cache in ("memory", "none"):
        store = ImageStore(FileImages(paths), 16, 3, cache, tmp_path)
        store.scan("raise", 0)
        batch = store.batch(np.arange(3))
        assert batch.shape == (3, 3, 16, 16)
        assert torch.equal(batch[0], batch[1])
        torch.testing.assert_close(batch[0], torch.full((3, 16, 16), 0.2))
        assert batch[2].mean((1, 2)).tolist() == [1, 0, 0]
    store = ImageStore(FileImages(paths), 16, 1, "memory", tmp_path)
    store.scan("raise", 0)
    assert store.batch(np.arange(3))[2].unique().tolist() == [pytest.approx(85 / 255)]


def test_bad_images_are_raised_or_counted(write_images, tmp_path: Path) -> None:
    paths = write_images([f"{i}.png" for i in range(6)])
    for i in (1, 4):
        paths[i].write_bytes(b"")
    reader = FileImages(paths)
    with pytest.raises(DataError, match=r"1\.png: the file has 0 bytes"):
        ImageStore(reader, 16, 1, "memory", tmp_path).scan("raise", 5)
    scan = ImageStore(reader, 16, 1, "memory", tmp_path).scan("skip", 2)
    assert sorted(scan.bad) == [1, 4]
    assert [bool(key) for key in scan.hashes] == [True, False, True, True, False, True]
    with pytest.raises(DataError, match=r"2 images cannot be read, data.max_bad allows 1: cannot"):
        ImageStore(reader, 16, 1, "memory", tmp_path).scan("skip", 1)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_a_scan_knows_the_sides_of_what_became_squares(cache: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 20), dtype=np.uint8)
    seen = []
    for fit in ("squash", "crop"):
        for _ in range(2):  # the second time from the cache, where there is one
            store = ImageStore(ArrayImages(images), 12, 1, cache, tmp_path, fit)
            assert store.scan("raise", 0).sides.tolist() == [[12, 20]] * 3
            seen.append(store.batch(np.arange(3)))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2]), "from the cache of the other fit"
    np.testing.assert_allclose(seen[3][:, 0], images[:, :, 4:16] / 255, atol=1e-6)


def test_hash_sees_values_shape_and_type() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    others = [image + 1, image.reshape(1, 2, 8), image.view(np.int8), image.astype(np.uint16)]
    assert len({pixel_hash(i) for i in (image, *others)}) == 5
    assert pixel_hash(image) == pixel_hash(image.copy())


def test_arrays_give_channels_first() -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.testing.assert_array_equal(ArrayImages(images).read(1).pixels[2], images[1, ..., 2])
    assert ArrayImages(images[..., 0]).read(0).pixels.shape == (1, 4, 5)

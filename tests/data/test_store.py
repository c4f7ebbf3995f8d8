from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ttl_lightning.data.store import ArrayImages, FileImages, ImageStore, fit_square, pixel_hash
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


def test_fitting_agrees_with_pillow() -> None:
    y, x = np.mgrid[:40, :60]
    image = (127 + 60 * np.sin(x / 7) + 60 * np.cos(y / 5)).astype(np.uint8)
    ours = fit_square(image[None], 20, 3)[0]
    theirs = np.asarray(Image.fromarray(image).resize((30, 20), Image.Resampling.BILINEAR))[:, 5:25]
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_fitting_keeps_signs_and_fractions() -> None:
    values = np.linspace(-2.5, 1.5, 30, dtype=np.float32)
    image = np.broadcast_to(values, (1, 30, 30))
    fitted = fit_square(image, 15, 1)
    assert fitted.dtype == np.float32
    np.testing.assert_allclose(fitted[0, 0, 1:-1], values.reshape(15, 2).mean(1)[1:-1], atol=1e-5)
    whole = fit_square((image * 1000).astype(np.int16), 15, 1)
    assert whole.dtype == np.int16
    assert np.abs(whole - fitted * 1000).max() < 2


@pytest.mark.parametrize("shape", [(1, 9, 30), (3, 31, 10), (1, 1, 1), (3, 1000, 2)])
def test_fitting_gives_squares(shape: tuple[int, int, int]) -> None:
    fitted = fit_square(np.full(shape, 65535, np.uint16), 12, 1)
    assert fitted.shape == (1, 12, 12)
    assert (fitted == 65535).all()


def test_hash_sees_values_shape_and_type() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    others = [image + 1, image.reshape(1, 2, 8), image.view(np.int8), image.astype(np.uint16)]
    assert len({pixel_hash(i) for i in (image, *others)}) == 5
    assert pixel_hash(image) == pixel_hash(image.copy())


def test_arrays_give_channels_first() -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.testing.assert_array_equal(ArrayImages(images).read(1)[2], images[1, ..., 2])
    assert ArrayImages(images[..., 0]).read(0).shape == (1, 4, 5)

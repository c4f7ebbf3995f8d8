from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ttl_lightning.data.readers.picture import read_image
from ttl_lightning.data.readers.pillow import value_range
from ttl_lightning.data.readers.reading import LeftOut
from ttl_lightning.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 16), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 16, 4), dtype=np.uint16)
LARGE = (64, 64)

# what a viewer does with the stored rows, for each value of the tag (TIFF 6.0, page 36)
TURNED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored),
}


def png(path: Path, pixels: np.ndarray, kind: int) -> Path:
    """A PNG of 16 bits a channel, which Pillow does not write.

    Args:
        path: the file.
        pixels: (H, W, C) uint16.
        kind: PNG's colour type.
    """
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


def tiff(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


def first_channels(pixels: np.ndarray) -> np.ndarray:
    """(C, H, W) of (H, W, C)."""
    return pixels.transpose(2, 0, 1)


def pages(tmp_path: Path, suffix: str, values: tuple[int, ...]) -> Path:
    path = tmp_path / f"x{suffix}"
    images = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in values]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], **lossless)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".png", ".gif", ".webp"])
def test_the_middle_of_pages_and_of_animations(suffix: str, tmp_path: Path) -> None:
    path = pages(tmp_path, suffix, (10, 100, 150, 200, 250))
    found = read_image(path)
    assert np.unique(found.pixels).tolist() == [150]
    assert found.left_out == LeftOut(images=5)
    chosen = read_image(path, 1)
    assert np.unique(chosen.pixels).tolist() == [100]
    assert chosen.left_out == LeftOut()
    single = read_image(pages(tmp_path, suffix, (7,)))
    assert (np.unique(single.pixels).tolist(), single.left_out) == ([7], LeftOut())


@pytest.mark.parametrize("others", [1, 2, 3])
@pytest.mark.parametrize("kind", [1, 4, 5])
def test_smaller_copies_and_masks_are_no_pages(others: int, kind: int, tmp_path: Path) -> None:
    whole = RNG.integers(0, 256, (3, *LARGE), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for image in whole:
            file.write(image, contiguous=False)
            for step in range(others):
                file.write(image[:: 2 << step, :: 2 << step], subfiletype=1)
    tag, wanted = (struct.pack("<HHII", 254, 4, 1, value) for value in (1, kind))
    data = (tmp_path / "x.tif").read_bytes()
    assert data.count(tag) == 3 * others
    (tmp_path / "x.tif").write_bytes(data.replace(tag, wanted))
    found = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(found.pixels[0], whole[1])
    assert found.left_out == LeftOut(images=3)
    # by its number, any page of the file
    assert read_image(tmp_path / "x.tif", 1).pixels.shape == (1, 32, 32)


def test_a_picture_with_one_smaller_copy_is_the_picture(tmp_path: Path) -> None:
    whole = RNG.integers(0, 256, LARGE, dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(whole)
        file.write(whole[::2, ::2], subfiletype=1)
    found = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(found.pixels[0], whole)
    assert found.left_out == LeftOut()


def test_the_picture_of_a_camera_is_the_first_in_its_file(tmp_path: Path) -> None:
    first, other = (Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (30, 220))
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[other])
    found = read_image(tmp_path / "x.jpg")
    assert np.unique(found.pixels).tolist() == [30]
    assert found.left_out == LeftOut()
    assert np.unique(read_image(tmp_path / "x.jpg", 1).pixels).tolist() == [220]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("turn", TURNED)
def test_a_tiff_on_its_side_is_set_upright(turn: int, kind: type, tmp_path: Path) -> None:
    stored = (np.arange(12).reshape(3, 4) / 11 * (1 if kind == np.float32 else 250)).astype(kind)
    tag = [(274, "H", 1, turn, True)]
    for compression in (None, "zlib"):
        path = tiff(tmp_path / "x.tif", stored, extratags=tag, compression=compression)
        expected = TURNED[turn](np.rint(stored * 65535) if kind == np.float32 else stored)
        np.testing.assert_array_equal(read_image(path).pixels[0], expected)


def test_each_page_has_its_own_orientation(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for turn in (6, 8, 3):
            file.write(GREY, extratags=[(274, "H", 1, turn, True)], contiguous=False)
    for page, turn in ((None, 8), (0, 6), (2, 3)):
        read = read_image(tmp_path / "x.tif", page).pixels[0]
        np.testing.assert_array_equal(read, TURNED[turn](GREY))


def test_a_large_page_behind_a_small_one_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for side in (4, 40):
            file.write(np.zeros((side, side), np.uint8))
    with pytest.raises(DataError, match=r"x\.tif: 40×40 pixels are more than 100; data\.max_pix"):
        read_image(tmp_path / "x.tif", most_pixels=100)
    assert read_image(tmp_path / "x.tif", 0, 100).pixels.shape == (1, 4, 4)


@pytest.mark.parametrize("file", ["png", "tif", "big-endian", "zlib", "planes"])
def test_deep_colour_keeps_its_upper_bits_and_says_so(file: str, tmp_path: Path) -> None:
    rgb = DEEP[..., :3]
    path = tmp_path / "x.tif"
    if file == "png":
        png(path, rgb, 2)
    elif file == "planes":
        tiff(path, first_channels(rgb).copy(), photometric="rgb", compression="zlib",
             planarconfig="separate")  # fmt: skip
    else:
        options = {"big-endian": {"byteorder": ">"}, "zlib": {"compression": "zlib"}}
        tiff(path, rgb, photometric="rgb", **options.get(file, {}))
    found = read_image(path)
    np.testing.assert_array_equal(found.pixels, first_channels(rgb // 256))
    assert found.left_out == LeftOut(deep=True)


def test_deep_colour_in_raw_planes_is_refused(tmp_path: Path) -> None:
    planes = first_channels(DEEP[..., :3])
    options = {"photometric": "rgb", "planarconfig": "separate"}
    path = tiff(tmp_path / "x.tif", planes.copy(), **options)
    with pytest.raises(DataError, match=r"x\.tif: its colours of more than 8 bits lie in separate"):
        read_image(path)
    eight = (planes // 256).astype(np.uint8)
    found = read_image(tiff(tmp_path / "y.tif", eight, **options))
    np.testing.assert_array_equal(found.pixels, eight)
    assert found.left_out == LeftOut()


def test_deep_alpha_and_deep_grey_with_alpha(tmp_path: Path) -> None:
    both = LeftOut(deep=True, alpha=True)
    for path in (
        png(tmp_path / "x.png", DEEP, 6),
        tiff(tmp_path / "x.tif", DEEP, photometric="rgb", extrasamples=["unassalpha"]),
    ):
        found = read_image(path)
        np.testing.assert_array_equal(found.pixels, first_channels(DEEP[..., :3] // 256))
        assert found.left_out == both
    found = read_image(png(tmp_path / "y.png", DEEP[..., :2], 4))
    assert {tuple(np.unique(plane - DEEP[..., 0] // 256)) for plane in found.pixels} == {(0,)}
    assert found.left_out == both


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_said_where_it_hides_something(mode: str, tmp_path: Path) -> None:
    opaque = np.full(GREY.shape, 255, np.uint8)
    holed = opaque.copy()
    holed[3, 4] = 0
    for alpha, hides in ((opaque, False), (holed, True)):
        shown = COLOUR if mode == "RGBA" else GREY[..., None]
        bands = [Image.fromarray(band) for band in (*first_channels(shown), alpha)]
        Image.merge(mode, bands).save(tmp_path / "x.png")
        found = read_image(tmp_path / "x.png")
        np.testing.assert_array_equal(found.pixels, first_channels(shown))
        assert found.left_out == LeftOut(alpha=hides)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
@pytest.mark.parametrize("hides", [True, False])
def test_a_transparent_level_is_said_where_a_pixel_has_it(
    mode: str, hides: bool, tmp_path: Path
) -> None:
    levels = GREY // 2 + 1
    key = int(levels[0, 0]) if hides else 0
    image = Image.fromarray(np.repeat(levels[..., None], 3, 2) if mode == "RGB" else levels)
    if mode == "P":
        image = Image.fromarray(levels).convert("P")
        image.putpalette([part for level in range(256) for part in (level, 255 - level, 7)])
    image.save(tmp_path / "x.png", transparency=(key,) * 3 if mode == "RGB" else key)
    found = read_image(tmp_path / "x.png")
    grey = np.stack([levels] * len(found.pixels))
    expected = np.stack([levels, 255 - levels, np.full_like(levels, 7)]) if mode == "P" else grey
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.left_out == LeftOut(alpha=hides)


@pytest.mark.parametrize("channels", [4, 5])
def test_channels_that_are_dropped_are_said(channels: int, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (12, 16, channels), dtype=np.uint8)
    more = ["unspecified"] * (channels - 3)
    found = read_image(tiff(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=more))
    np.testing.assert_array_equal(found.pixels, first_channels(pixels[..., :3]))
    assert found.left_out == LeftOut(channels=True)


def test_inks_become_colour_and_it_is_said(tmp_path: Path) -> None:
    inks = RNG.integers(0, 256, (12, 16, 4), dtype=np.uint8)
    bands = [Image.fromarray(inks[..., k]) for k in range(4)]
    Image.merge("CMYK", bands).save(tmp_path / "x.tif")
    found = read_image(tmp_path / "x.tif")
    parts = inks / 255
    expected = 255 * (1 - parts[..., :3]) * (1 - parts[..., 3:])
    assert np.abs(first_channels(expected) - found.pixels).max() <= 1
    assert found.left_out == LeftOut(inks=True)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_signed_and_32_bit_values_keep_their_order(
    kind: type, compression: str | None, tmp_path: Path
) -> None:
    limits = np.iinfo(kind)
    values = RNG.integers(limits.min, limits.max, (12, 16), endpoint=True).astype(kind)
    found = read_image(tiff(tmp_path / "x.tif", values, compression=compression))
    exact = values.astype(np.float64)
    expected = (exact - exact.min()) / (exact.max() - exact.min()) * 65535
    assert np.abs(found.pixels[0] - expected).max() <= 0.5
    assert found.left_out == LeftOut(scale=True)


@pytest.mark.parametrize(("top", "scaled"), [(1.0, False), (3000.0, True)])
def test_floats_say_black_and_white_between_0_and_1_alone(
    top: float, scaled: bool, tmp_path: Path
) -> None:
    values = np.linspace(0, top, 192, dtype=np.float32).reshape(12, 16)
    assert read_image(tiff(tmp_path / "x.tif", values)).left_out == LeftOut(scale=scaled)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([3], np.uint8), (0, 255)),
        (np.array([3], np.uint16), (0, 65535)),
        (np.array([0.2, 0.9]), (0, 1)),
        (np.array([-2.0, 7.0]), (-2, 7)),
        (np.array([-5, 9], np.int16), (-5, 9)),
    ],
)
def test_value_range(values: np.ndarray, expected: tuple[float, float]) -> None:
    assert value_range(values) == expected


def test_a_flipped_bit_in_the_pixels_of_a_png_is_found(tmp_path: Path) -> None:
    path, rng, unseen = tmp_path / "x.png", np.random.default_rng(0), 0
    pixels = rng.integers(0, 65536, (24, 20), dtype=np.uint16)
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    first, end = whole.index(b"IDAT") + 4, whole.index(b"IEND") - 4
    assert np.array_equal(read_image(path).pixels[0], pixels)
    for place in [*rng.integers(first, end, 60), *range(end - 12, end)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="the checksum of its pixels differs"):
            read_image(path)
        with suppress(Exception), Image.open(path) as image:
            unseen += bool(np.asarray(image).any())  # by Pillow
    assert unseen, "Pillow finds all of them, so this is not needed"


def test_a_png_that_is_cut_within_its_last_pixel(tmp_path: Path) -> None:
    path, pixels = tmp_path / "x.png", np.random.default_rng(0).bytes(24 * 20 * 2)
    Image.fromarray(np.frombuffer(pixels, np.uint16).reshape(24, 20)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"IEND") - 13] + whole[-2:])
    with pytest.raises(DataError, match=r"x\.png: the image is truncated"):
        read_image(path)


def test_a_tiff_whose_strips_end_before_its_height(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((24, 20), 7, np.uint16)).save(path)
    content = bytearray(path.read_bytes())
    at = content.index((257).to_bytes(2, "little") + b"\x04\0\x01\0\0\0") + 8
    content[at : at + 2] = (3000).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match="strips or tiles hold 480 of 20×3000 pixels"):
        read_image(path)

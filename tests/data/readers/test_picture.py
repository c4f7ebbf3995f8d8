from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttl_lightning.data.readers.picture import read_image as read_whole
from ttl_lightning.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def read_image(path: Path, slice_index: int | None = None, **limit: int) -> np.ndarray:
    return read_whole(path, slice_index, **limit).pixels


def saved(path: Path, image: np.ndarray | Image.Image) -> Path:
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
def test_eight_bit_grey_comes_as_it_is(tmp_path: Path, suffix: str) -> None:
    read = read_image(saved(tmp_path / f"x{suffix}", RAMP))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, RAMP[None])


def test_jpeg_is_close(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP)
    image.save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "x.jpg")[0].astype(int) - RAMP).max() < 12


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_every_level(tmp_path: Path, suffix: str) -> None:
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    read = read_image(saved(tmp_path / f"x{suffix}", deep))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read[0], deep)


def test_twelve_bits_in_sixteen_are_not_stretched(tmp_path: Path) -> None:
    deep = np.full((4, 4), 4095, np.uint16)
    assert read_image(saved(tmp_path / "x.png", deep)).max() == 4095


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1000.0, 3000.0)])
def test_float_tiff_is_scaled_to_the_whole_range(tmp_path: Path, low: float, high: float) -> None:
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    read = read_image(saved(tmp_path / "x.tif", values))
    assert (read.min(), read.max()) == (0, 65535)
    assert np.abs(read[0] / 65535 - (values - low) / (high - low)).max() < 1e-4


def test_colour_alpha_palette_and_bits(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    alpha = np.dstack([rgb, np.full((8, 8), 9, np.uint8)])
    np.testing.assert_array_equal(
        read_image(saved(tmp_path / "a.png", rgb)), rgb.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(
        read_image(saved(tmp_path / "b.png", alpha)), rgb.transpose(2, 0, 1)
    )
    grey_alpha = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(RAMP // 2)])
    np.testing.assert_array_equal(read_image(saved(tmp_path / "c.png", grey_alpha)), RAMP[None])
    palette = Image.fromarray(RAMP // 128).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 50] + [0] * 762)
    read = read_image(saved(tmp_path / "d.png", palette))
    assert read[:, 0, 0].tolist() == [10, 20, 30]
    assert read[:, -1, -1].tolist() == [200, 100, 50]
    bits = Image.fromarray(RAMP > 127)
    assert np.unique(read_image(saved(tmp_path / "e.png", bits))).tolist() == [0, 255]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    wide = Image.fromarray(np.zeros((8, 16), np.uint8))
    exif = wide.getexif()
    exif[274] = 6
    wide.save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").shape == (1, 16, 8)


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 20, 30)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "x.tif").max() == 20
    assert read_image(tmp_path / "x.tif", 2).max() == 30
    with pytest.raises(DataError, match=r"x\.tif: slice 3 is not from 0 to 2"):
        read_image(tmp_path / "x.tif", 3)


def _png_bytes() -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(
        buffer, "png"
    )
    return buffer.getvalue()


def _without_pixels() -> bytes:
    """A PNG whose header says 0×0."""
    data = bytearray(_png_bytes())
    data[16:24] = bytes(8)
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def _flipped() -> bytes:
    data = bytearray(_png_bytes())
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


BAD = {
    "empty.png": (b"", "the file has 0 bytes"),
    "half.png": (_png_bytes()[: len(_png_bytes()) // 2], "truncated"),
    "head.png": (_png_bytes()[:20], ""),
    "flipped.png": (_flipped(), ""),
    "nopixels.png": (_without_pixels(), ""),
    "text.png": (b"this is no image", "cannot identify image file"),
    "text.jpg": (b"\xff\xd8\xff\xe0 nothing", ""),
    "text.tif": (b"II*\x00\xff\xff\xff\xff", ""),
    "text.dcm": (b"this is no image", "DICOM"),
    "half.dcm": (bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00", ""),
    "text.nii": (b"this is no image", ""),
    "text.nii.gz": (b"\x1f\x8b\x08\x00 nothing", ""),
    "empty.nii.gz": (b"", "the file has 0 bytes"),
    "pickle.png": (b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.", "cannot identify image file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    data, text = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"cannot read image {tmp_path / name}: ")
    assert text in message
    assert "\n" not in message
    assert len(message) > len(f"cannot read image {tmp_path / name}: ") + 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read image .*gone\.png: no such file\.$"):
        read_image(tmp_path / "gone.png")


def test_values_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = np.nan
    with pytest.raises(DataError, match=r"x\.tif: 1 pixels are NaN or infinite"):
        read_image(saved(tmp_path / "x.tif", values))


def test_images_over_the_limit_of_pillow_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "x.png", RAMP)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"x\.png: .*decompression bomb"):
        read_image(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # Pillow itself only warns up to twice that
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(DataError, match=r"x\.png: 16×16 pixels are more than 200; data\.max_pixels"),
    ):
        read_image(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 256)
    assert read_image(tmp_path / "x.png").shape == (1, 16, 16)
    with pytest.raises(DataError, match="are more than 255"):
        read_image(tmp_path / "x.png", most_pixels=255)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(tmp_path / "x.png", most_pixels=10**9).shape == (1, 16, 16)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_is_zero_in_a_tiff_of_any_depth(kind: type, tmp_path: Path) -> None:
    values = (np.arange(64).reshape(8, 8) * (np.iinfo(kind).max // 64)).astype(kind)
    Image.fromarray(values).save(tmp_path / "black.tif")
    # Pillow itself inverts eight bits when it writes them
    stored = values if kind == np.uint8 else np.iinfo(kind).max - values
    Image.fromarray(stored).save(tmp_path / "white.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "white.tif") as image:
        assert image.tag_v2[262] == 0
    read = read_image(tmp_path / "white.tif").astype(float)
    assert np.abs(read - read_image(tmp_path / "black.tif")).max() <= 1


def test_a_torn_tiff_is_an_error_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((8, 8), 7, np.uint16)).save(path)
    whole, warned = path.read_bytes(), 0
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"cannot read image .*x\.tif: "):
            read_image(path)
        with suppress(Exception), Image.open(path) as image:
            image.load()  # Pillow's own way
        warned += bool(recwarn.list)
        recwarn.clear()
    assert warned > 5, "Pillow warned of none, so this tests nothing"


def test_a_strange_tag_is_said_and_the_image_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, pixels = tmp_path / "x.tif", np.arange(64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(pixels).save(path)
    entry = (278).to_bytes(2, "little") + b"\x04\0"  # rows per strip, a long
    content = bytearray(path.read_bytes())
    at = content.index(entry) + len(entry)
    content[at] = 3  # how many there are
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path)[0], pixels)
    assert len(caplog.messages) == 1
    assert f"{path} is read, but: " in caplog.text

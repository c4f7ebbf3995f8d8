"""Pixels of the pictures that Pillow reads, as their format means them."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
)

from ttl_lightning.data.readers.png import check_png
from ttl_lightning.data.readers.reading import LeftOut, Reading, to_storage
from ttl_lightning.data.readers.slices import middle

MOST_PIXELS = 89_478_485
"""Of one picture: Pillow's own limit, beyond which a small file may fill the memory."""

# A picture holds nothing but pixels in these modes; the others are converted to RGB by Pillow.
_AS_THEY_ARE = {"L", "RGB", "I", "F"}
_EIGHT_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA")
_GREY = {"1": "L", "LA": "L", "La": "L"}

# values of TIFF's tags
_SUBFILE, _REDUCED_OR_MASK = 254, 1 | 4
_WHITE_IS_ZERO = 0
_SIGNED = 2
_SEPARATE = 2


def read_picture(path: Path, slice_index: int | None, most_pixels: int) -> Reading:
    """One image of a picture's file.

    Where nobody says which, that is the middle one of those that are pictures in their own right:
    not the smaller copies and masks that a TIFF may have beside them, nor what comes after the
    first in a camera's JPEG (a preview, the other eye, a depth map).

    Args:
        path: the file.
        slice_index: the image in the file, from 0.
        most_pixels: a larger picture is refused before it is decoded.

    Raises:
        ValueError: if it is too large, holds no such image, or cannot be read.
        Exception: what Pillow raises for a damaged file.
    """
    if most_pixels > MOST_PIXELS and Image.MAX_IMAGE_PIXELS is not None:
        # of the whole process, as all that Pillow knows; asked for by name
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, most_pixels)
    # By its name, Pillow would map a TIFF that lies on its side into memory with its sides swapped.
    with path.open("rb") as file, _opened(file) as image:
        _check_size(image, most_pixels)
        page, images = _page(image, slice_index)
        image.seek(page)
        _check_size(image, most_pixels)  # pages may differ
        _check_covered(image)
        deep, channels = _is_deep_colour(image), _has_more_channels(image)
        if deep and _tag(image, PLANAR_CONFIGURATION) == _SEPARATE and len(image.tile) > 1:
            raise ValueError(
                "its colours of more than 8 bits lie in separate planes, uncompressed, which "
                "Pillow reads wrongly; save them pixel by pixel"
            )
        upright = ImageOps.exif_transpose(image)
        values = _values(image, upright)
        alpha, inks = _is_transparent(upright), upright.mode == "CMYK"
        # Pillow inverts where white is 0 in eight bits, and in no deeper ones
        inverted = (
            upright.mode not in _EIGHT_BITS
            and _tag(image, PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} pixels are NaN or infinite")
    low, high = value_range(values)
    scale = values.dtype.kind != "u" and (low, high) != (0.0, 1.0)
    if inverted:
        values = low + high - values.astype(np.float64)
    left_out = LeftOut(images, deep, alpha, channels, inks, scale)
    return Reading(to_storage(values, low, high), left_out)


def value_range(values: NDArray[Any]) -> tuple[float, float]:
    """What black and white are.

    An unsigned type's own range; [0, 1] for floats within it; else the smallest and the largest
    value.
    """
    if values.dtype.kind == "u":
        return 0.0, float(np.iinfo(values.dtype).max)
    low, high = float(values.min()), float(values.max())
    return (0.0, 1.0) if values.dtype.kind == "f" and low >= 0 and high <= 1 else (low, high)


def _opened(file: IO[bytes]) -> ImageFile.ImageFile:
    check_png(file)
    file.seek(0)
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise ValueError("cannot identify image file") from None  # Pillow names the stream


def _check_size(image: ImageFile.ImageFile, most_pixels: int) -> None:
    limit = min(most_pixels, Image.MAX_IMAGE_PIXELS or most_pixels)
    if image.width * image.height > limit:
        raise ValueError(
            f"{image.width}×{image.height} pixels are more than {limit}; data.max_pixels "
            "allows more"
        )


def _check_covered(image: ImageFile.ImageFile) -> None:
    """Demand strips or tiles of the whole of a TIFF's page: what lacks, Pillow leaves black."""
    if image.format != "TIFF":
        return
    corners = [extents for _, extents, *_ in image.tile if extents]
    covered = sum((right - left) * (low - high) for left, high, right, low in corners)
    if covered < image.width * image.height:
        raise ValueError(
            f"its strips or tiles hold {covered} of {image.width}×{image.height} pixels"
        )


def _page(image: ImageFile.ImageFile, slice_index: int | None) -> tuple[int, int]:
    """Which image of the file to read, and of how many nobody chose it."""
    pages = getattr(image, "n_frames", 1)
    if slice_index is not None or pages == 1:
        return middle(slice_index, pages), 1
    if image.format == "MPO":
        return 0, 1
    whole = [page for page in range(pages) if image.format != "TIFF" or _is_whole(image, page)]
    whole = whole or list(range(pages))
    return whole[len(whole) // 2], len(whole)


def _is_whole(image: ImageFile.ImageFile, page: int) -> bool:
    """Whether a page of a TIFF is an image, not a smaller copy or a mask of another page."""
    image.seek(page)
    return not (_tag(image, _SUBFILE) or 0) & _REDUCED_OR_MASK


def _tag(image: ImageFile.ImageFile, number: int) -> Any:
    """A TIFF's tag, its first value where it has several; None of other formats."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value


def _values(image: ImageFile.ImageFile, upright: Image.Image) -> NDArray[Any]:
    """(H, W) or (H, W, 3), of the type that the file says, but for colour in eight bits."""
    mode = upright.mode
    if mode.startswith("I;16"):
        return np.asarray(upright).astype(np.uint16)
    wanted = mode if mode in _AS_THEY_ARE else _GREY.get(mode, "RGB")
    values = np.asarray(upright if wanted == mode else upright.convert(wanted))
    if mode == "I" and image.format == "PNG":  # Pillow < 11 widens 16 bits so
        return values.astype(np.uint16)
    # Pillow reads any 8 bits as unsigned, and any 32 as signed
    signed = _tag(image, SAMPLEFORMAT) == _SIGNED
    if mode == "L" and signed:
        return values.view(np.int8)
    if mode == "I" and not signed and _tag(image, BITSPERSAMPLE) == 32:
        return values.view(np.uint32).astype(np.int64)  # hardly ever up to 2^32: its own range
    return values


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow takes the upper eight bits of deeper ones; before it decodes them."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return False
    if image.format == "TIFF":
        return int(_tag(image, BITSPERSAMPLE) or 1) > 8
    options = image.tile[0][3] if image.tile else ""
    return ";16" in str(options[0] if isinstance(options, tuple) else options)


def _has_more_channels(image: ImageFile.ImageFile) -> bool:
    """Whether a TIFF has more channels than Pillow keeps."""
    kept = [band for band in image.getbands() if band != "X"]
    return int(_tag(image, SAMPLESPERPIXEL) or 1) > len(kept)


def _is_transparent(upright: Image.Image) -> bool:
    if upright.mode not in _EIGHT_BITS or not upright.has_transparency_data:
        return False
    return bool(np.asarray(upright.convert("RGBA").getchannel("A")).min() < 255)

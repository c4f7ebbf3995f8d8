"""Safe reading of one image file. What comes out is (C, H, W), C = 1 or 3, uint8 or uint16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION

from ttl_lightning.data.dicom_tags import is_dicom
from ttl_lightning.data.slices import middle, read_dicom, read_nifti
from ttl_lightning.errors import DataError, TTLError

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
DICOM = (".dcm", ".dicom")
NIFTI = (".nii", ".nii.gz")
SUFFIXES = (*PICTURES, *DICOM, *NIFTI)

# A picture holds nothing but pixels in these modes; the others are converted to RGB by Pillow.
_AS_THEY_ARE = {"L", "RGB", "I", "F"}
_EIGHT_BITS = ("1", "L", "LA", "La", "P", "RGB", "RGBA")
WHITE_IS_ZERO = 0
_GREY = {"1": "L", "LA": "L", "La": "L"}


MOST_PIXELS = 89_478_485
"""Of one picture: Pillow's own limit, beyond which a small file may fill the memory."""


def read_image(
    path: Path, slice_index: int | None = None, most_pixels: int = MOST_PIXELS
) -> NDArray[Any]:
    """Read PNG, JPEG, TIFF, BMP, DICOM or NIfTI.

    Eight-bit grey and colour come as they are. Deeper grey is scaled by the range of its own type
    (NIfTI and floating point: of its own values) to the whole of uint16, so nothing is clipped.
    Alpha is dropped, palettes are resolved, EXIF rotation is applied. Colour deeper than eight bits
    keeps its upper eight, which is what Pillow reads.

    Args:
        path: the file.
        slice_index: of a volume or a file with several pages; the middle one by default.
        most_pixels: of a picture; a larger one is refused before it is decoded.

    Returns:
        (C, H, W) uint8 or uint16.

    Raises:
        DataError: naming the file and what is wrong with it.
        ConfigError: if the package that reads this kind of file is not installed.
    """
    name = path.name.lower()
    try:
        if not path.is_file():
            raise ValueError("no such file")  # noqa: TRY301
        if path.stat().st_size == 0:
            raise ValueError("the file has 0 bytes")  # noqa: TRY301
        if name.endswith(DICOM) or (not name.endswith(SUFFIXES) and is_dicom(path)):
            return to_storage(*read_dicom(path, slice_index))
        if name.endswith(NIFTI):
            return to_storage(*read_nifti(path, slice_index))
        return _read_picture(path, slice_index, most_pixels)
    except TTLError:
        raise
    except Exception as error:
        # Decoders raise what they like (SyntaxError, struct.error, zlib.error …), none with a path.
        reason = str(error) or type(error).__name__
        raise DataError(f"cannot read image {path}: {reason.rstrip('.')}.") from error


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name; without a suffix, whether it is DICOM by content."""
    if path.suffix:
        return path.name.lower().endswith(SUFFIXES)
    try:
        return path.is_file() and is_dicom(path)
    except OSError:
        return False


def to_storage(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Grey (H, W) or colour (H, W, 3) as (C, H, W): uint8 untouched, else [low, high] scaled.

    Raises:
        ValueError: if there is no pixel, a value is not finite or outside the range, or the number
            of channels is not 1 or 3.
    """
    pixels = values[..., None] if values.ndim == 2 else values
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
        raise ValueError(f"expected (H, W) or (H, W, 3) pixels, got shape {values.shape}")
    if pixels.size == 0:
        raise ValueError(f"it has no pixels, shape {values.shape}")
    if pixels.dtype != np.uint8:
        pixels = _to_uint16(pixels.astype(np.float64), low, high)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def value_range(values: NDArray[Any]) -> tuple[float, float]:
    """What black and white are.

    An unsigned type's own range; [0, 1] for floats within it; else the smallest and the largest
    value.
    """
    if values.dtype.kind == "u":
        return 0.0, float(np.iinfo(values.dtype).max)
    low, high = float(values.min()), float(values.max())
    return (0.0, 1.0) if values.dtype.kind == "f" and low >= 0 and high <= 1 else (low, high)


def _to_uint16(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint16]:
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise ValueError(f"{bad} of {values.size} pixels are NaN or infinite")
    if values.min() < low or values.max() > high:
        raise ValueError(
            f"pixels from {values.min():g} to {values.max():g} exceed {low:g}–{high:g}"
        )
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.rint(scaled * 65535).astype(np.uint16)


def _read_picture(path: Path, slice_index: int | None, most_pixels: int) -> NDArray[Any]:
    if most_pixels > MOST_PIXELS and Image.MAX_IMAGE_PIXELS is not None:
        # of the whole process, as all that Pillow knows; asked for by name
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, most_pixels)
    with Image.open(path) as image:
        limit = min(most_pixels, Image.MAX_IMAGE_PIXELS or most_pixels)
        if image.width * image.height > limit:
            raise ValueError(
                f"{image.width}×{image.height} pixels are more than {limit}; data.max_pixels "
                "allows more"
            )
        pages = getattr(image, "n_frames", 1)
        image.seek(middle(slice_index, pages))
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            values = np.asarray(upright).astype(np.uint16)
        else:
            mode = upright.mode
            wanted = mode if mode in _AS_THEY_ARE else _GREY.get(mode, "RGB")
            values = np.asarray(upright if wanted == mode else upright.convert(wanted))
        # Pillow inverts where white is 0 in eight bits, and in no deeper ones
        inverted = (
            upright.mode not in _EIGHT_BITS
            and getattr(image, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
        )
        deep_png = upright.mode == "I" and image.format == "PNG"  # Pillow < 11 widens 16 bits so
    if deep_png:
        values = values.astype(np.uint16)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} pixels are NaN or infinite")
    low, high = value_range(values)
    return to_storage(low + high - values.astype(np.float64) if inverted else values, low, high)

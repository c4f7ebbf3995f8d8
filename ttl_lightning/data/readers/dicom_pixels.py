"""Values of one DICOM frame: as they are stored, as they were measured, as they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.readers.dicom_tags import frames_in, groups_of, numbers_of, value_of

if TYPE_CHECKING:
    from pydicom import Dataset

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def stored(dataset: Dataset, number: int) -> NDArray[Any]:
    """A frame's values as the file holds them, unpacked: (H, W), or (H, W, 3) of colour.

    Raises:
        ValueError: if there are none, or they cannot be decoded.
    """
    from pydicom.pixels.utils import pixel_array

    if not any(name in dataset for name in _PIXELS):
        raise ValueError("it ends before its pixels, or has none")
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    try:
        _check_uncompressed(dataset)
        return pixel_array(dataset, index=number)
    except BaseException as error:
        # a decoder that is written in Rust panics, which is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        name = syntax.name if syntax else "without a transfer syntax"
        raise ValueError(f"its pixels ({name}) cannot be decoded: {error}") from error


def rescale(dataset: Dataset, number: int) -> tuple[float, float]:
    """Slope and intercept of a frame's modality transform; 1 and 0 where the file has none.

    Raises:
        ValueError: if one is no number, or the slope is 0.
    """
    groups = groups_of(dataset, number)
    slope = numbers_of("RescaleSlope", 1, dataset, groups, 1.0)[0]
    intercept = numbers_of("RescaleIntercept", 1, dataset, groups, 0.0)[0]
    if slope == 0:
        raise ValueError("RescaleSlope is 0, which makes all values one")
    return slope, intercept


def measured(dataset: Dataset, number: int) -> NDArray[Any]:
    """A grey frame's values after its modality transform, a table or slope and intercept.

    Raises:
        ValueError: as `stored` and `rescale`.
    """
    from pydicom.pixels import processing

    values = stored(dataset, number)
    if dataset.get("ModalityLUTSequence"):
        return processing.apply_modality_lut(values, dataset)
    slope, intercept = rescale(dataset, number)
    if (slope, intercept) == (1.0, 0.0):
        return values
    return values.astype(np.float64) * slope + intercept


def shown(dataset: Dataset, number: int) -> tuple[NDArray[Any], float, float]:
    """A grey frame as its first window or table of interest shows it, and what black and white are.

    Black and white are the ends of what the stored bits can hold, passed through the same
    transforms.

    Raises:
        ValueError: as `measured`, or if the window is none.
    """
    from pydicom.pixels import processing

    values = processing.apply_voi_lut(measured(dataset, number), _of_the_frame(dataset, number))
    low, high = _range(dataset, number)
    # float64 rounding of the transforms may step over the exact limit
    values = np.where(np.isclose(values, high), high, values)
    return np.where(np.isclose(values, low), low, values), low, high


def _of_the_frame(dataset: Dataset, number: int) -> Dataset:
    """What pydicom's windowing reads, with a frame's own values in the place of the file's."""
    from pydicom import Dataset

    flat = Dataset()
    flat.file_meta = dataset.file_meta  # tells how tables are encoded
    for tag in ("BitsStored", "PixelRepresentation", "PhotometricInterpretation",
                "VOILUTSequence", "ModalityLUTSequence"):  # fmt: skip
        if value_of(tag, dataset) is not None:
            flat[tag] = dataset[tag]
    flat.RescaleSlope, flat.RescaleIntercept = rescale(dataset, number)
    groups = groups_of(dataset, number)
    centre, width = (value_of(tag, dataset, groups) for tag in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None:
        flat.WindowCenter, flat.WindowWidth = centre, width
        if (function := value_of("VOILUTFunction", dataset, groups)) is not None:
            flat.VOILUTFunction = function
    return flat


def _range(dataset: Dataset, number: int) -> tuple[float, float]:
    """The smallest and the largest value that the transforms can give."""
    for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
        if dataset.get(sequence):
            return 0.0, float(2 ** int(dataset[sequence][0].LUTDescriptor[2]) - 1)
    bits = int(dataset.BitsStored)
    ends = (
        (0, 2**bits - 1)
        if dataset.PixelRepresentation == 0
        else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    slope, intercept = rescale(dataset, number)
    low, high = sorted(slope * end + intercept for end in ends)
    return low, high


def _check_uncompressed(dataset: Dataset) -> None:
    """Demand that pixels said to be uncompressed are, and no more than the header says.

    pydicom only warns of too many, and takes the first of them.

    Raises:
        ValueError: if they come in fragments, as only compressed ones do, or there are at least
            twice as many bytes: then size or bits in the header are wrong.
    """
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None or syntax.is_compressed or "PixelData" not in dataset:
        return
    if dataset["PixelData"].is_undefined_length:
        raise ValueError("they come in fragments, as only compressed ones do")
    samples = frames_in(dataset) * int(dataset.get("SamplesPerPixel", 1) or 1)
    expected = samples * dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    if len(dataset.PixelData) >= 2 * expected:
        raise ValueError(f"{len(dataset.PixelData)} bytes, its header says {expected}")

"""What a DICOM file says of a frame: in the frame's own group, the shared one, or the header."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

_PREAMBLE, _MAGIC = 128, b"DICM"
# Enhanced files keep these in functional groups, of each frame or of all (PS3.3 C.7.6.16.2).
GROUPS = {
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
}


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM's file format demands.

    Raises:
        OSError: if it cannot be opened.
    """
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC


def frames_in(header: Dataset) -> int:
    """How many frames a file has.

    Raises:
        ValueError: if it does not say so in a number.
    """
    return int(numbers_of("NumberOfFrames", 1, header, default=1)[0]) or 1


def groups_of(header: Dataset, number: int) -> list[Dataset]:
    """A frame's own functional groups, then those that all frames share; none of a plain file."""
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])[number : number + 1]
    return [*own, *(header.get("SharedFunctionalGroupsSequence") or [])]


def value_of(tag: str, header: Dataset, groups: Sequence[Dataset] = ()) -> Any:
    """A tag's value from the first of the groups that has it, or the header; None where empty."""
    items = [item for group in groups for item in group.get(GROUPS.get(tag, "")) or []]
    value = next((item[tag].value for item in items if tag in item), header.get(tag))
    return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value


def numbers_of(
    tag: str,
    length: int,
    header: Dataset,
    groups: Sequence[Dataset] = (),
    default: float | None = None,
) -> list[float]:
    """A tag's values, from the first of the functional groups that has them, or the header.

    Args:
        tag: its keyword.
        length: how many numbers it has.
        header: of the file.
        groups: of the frame, as `groups_of` gives them.
        default: where the tag is missing or empty.

    Raises:
        ValueError: if it is missing without a default, or not so many finite numbers.
    """
    try:
        value = value_of(tag, header, groups)
        if value is None:
            values = [] if default is None else [default]
        else:
            values = [float(part) for part in np.atleast_1d(np.asarray(value, np.float64))]
    except Exception as error:  # pydicom converts values when they are asked for
        raise ValueError(f"{tag} is not a number: {error}") from error
    if not values:
        raise ValueError(f"it has no {tag}")
    if len(values) != length or (not np.isfinite(values).all() and values != [default]):
        raise ValueError(f"{tag} must be {length} finite numbers, got {value}")
    return values

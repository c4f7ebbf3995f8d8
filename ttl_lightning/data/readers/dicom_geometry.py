"""Where the slices of a DICOM series lie, and whether they make one volume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.readers.dicom_tags import frames_in, groups_of, numbers_of
from ttl_lightning.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

_COSINES = 1e-3  # by how much direction cosines may differ: scanners write few decimals
_SPACINGS = 1e-3  # likewise pixel spacings, relative
_DUPLICATE = 1e-3  # a step below this part of the largest one is none
_UNEVEN = 0.25  # steps may differ by this part: positions are rounded to 0.1 mm at worst


class Frame(NamedTuple):
    """One slice: where its pixels are, where it lies and how its values scale."""

    path: Path
    number: int
    frames: int
    size: tuple[int, int]
    """Rows and columns."""
    position: NDArray[np.float64]
    """(3,) mm: the middle of the first voxel, to the patient's left, back and head."""
    orientation: NDArray[np.float64]
    """(2, 3): the ways along a row and along a column, of length 1."""
    spacing_mm: tuple[float, float]
    """Between rows and between columns."""
    thickness_mm: float
    """NaN where the file does not say."""

    @property
    def name(self) -> str:
        """For errors."""
        return str(self.path) if self.frames == 1 else f"{self.path} (frame {self.number + 1})"


def frames_of(path: Path, header: Dataset) -> list[Frame]:
    """The slices of a file: one, or those of an enhanced multi-frame file.

    Raises:
        ValueError: if it holds colour, or does not say where each slice lies.
    """
    kind = str(header.get("PhotometricInterpretation", ""))
    if not kind:
        raise ValueError("it holds no image")
    if not kind.startswith("MONOCHROME") or header.get("SamplesPerPixel", 1) != 1:
        raise ValueError(f"a volume is grey, this image is {kind}")
    count = frames_in(header)
    groups = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    if len(groups) != (count if groups or count > 1 else 0):
        raise ValueError(
            f"it has {count} frames and {len(groups)} positions of frames; "
            "only enhanced multi-frame files have them"
        )
    return [
        _frame(path, header, number, count, groups_of(header, number)) for number in range(count)
    ]


def _frame(path: Path, header: Dataset, number: int, count: int, groups: list[Dataset]) -> Frame:
    def numbers(tag: str, length: int, default: float | None = None) -> list[float]:
        return numbers_of(tag, length, header, groups, default)

    orientation = np.array(numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    if not np.allclose(orientation @ orientation.T, np.eye(2), atol=10 * _COSINES):
        raise ValueError(
            f"ImageOrientationPatient {orientation.ravel().tolist()} is not two perpendicular ways"
        )
    row_mm, column_mm = numbers("PixelSpacing", 2)
    if row_mm <= 0 or column_mm <= 0:
        raise ValueError(f"PixelSpacing must be positive, got {row_mm:g} and {column_mm:g}")
    rows, columns = numbers("Rows", 1)[0], numbers("Columns", 1)[0]
    return Frame(
        path,
        number,
        count,
        size=(int(rows), int(columns)),
        position=np.array(numbers("ImagePositionPatient", 3)),
        orientation=orientation,
        spacing_mm=(row_mm, column_mm),
        thickness_mm=numbers("SliceThickness", 1, float("nan"))[0],
    )


def ordered(path: Path, frames: list[Frame]) -> list[Frame]:
    """The slices from one end to the other, along the normal of their plane.

    Args:
        path: of the whole, for errors.
        frames: at least one.

    Raises:
        DataError: naming the files, if the slices do not make one volume.
    """
    first = frames[0]
    for frame in frames[1:]:
        _check_alike(first, frame)
    normal = _normal(first)
    places = np.array([frame.position for frame in frames]) @ normal
    order = np.argsort(places, kind="stable")
    chosen, steps = [frames[index] for index in order], np.diff(places[order])
    if len(steps):
        _check_steps(chosen, steps)
        _check_line(path, chosen, places[order], normal)
    return chosen


def steps_mm(frames: list[Frame]) -> NDArray[np.float64]:
    """(3, 3): the ways from a voxel to the next along slices, rows' index and columns' index.

    Args:
        frames: in order, at least one.

    Raises:
        ValueError: if there is one slice only, and its thickness is not given.
    """
    first, last = frames[0], frames[-1]
    along_row, along_column = first.orientation
    if len(frames) > 1:
        between = (last.position - first.position) / (len(frames) - 1)
    elif first.thickness_mm > 0:
        between = _normal(first) * first.thickness_mm
    else:
        raise ValueError("it has a single slice, and no SliceThickness")
    row_mm, column_mm = first.spacing_mm
    return np.stack([between, along_column * row_mm, along_row * column_mm])


def _normal(frame: Frame) -> NDArray[np.float64]:
    return np.cross(frame.orientation[0], frame.orientation[1])


def _check_alike(first: Frame, frame: Frame) -> None:
    if not np.allclose(first.orientation, frame.orientation, atol=_COSINES, rtol=0):
        raise DataError(
            f"{frame.name}: orientation {_text(frame.orientation)}, in {first.path.name} "
            f"{_text(first.orientation)}: slices of one volume are parallel."
        )
    if first.size != frame.size:
        raise DataError(
            f"{frame.name}: {frame.size[0]}×{frame.size[1]} pixels, in {first.path.name} "
            f"{first.size[0]}×{first.size[1]}: slices of one volume have one size."
        )
    if not np.allclose(first.spacing_mm, frame.spacing_mm, rtol=_SPACINGS, atol=0):
        raise DataError(
            f"{frame.name}: pixel spacing {_text(frame.spacing_mm)} mm, in {first.path.name} "
            f"{_text(first.spacing_mm)} mm: slices of one volume have one spacing."
        )


def _check_steps(frames: list[Frame], steps: NDArray[np.float64]) -> None:
    """Demand even steps.

    Raises:
        DataError: naming the files on both sides of a step that is none, too wide or too narrow.
    """
    # of two middle ones the smaller: a gap is to be told from the step, also among three slices
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    for before, after, step in zip(frames, frames[1:], steps, strict=False):
        if step <= _DUPLICATE * steps.max():
            raise DataError(
                f"{before.name} and {after.name} lie at the same position {_text(after.position)}."
            )
    for before, after, step in zip(frames, frames[1:], steps, strict=False):
        if step > (1 + _UNEVEN) * usual:
            raise DataError(
                f"{before.name}: a gap of {step:g} mm follows, before {after.path.name}; slices "
                f"are {usual:g} mm apart, so {max(1, round(step / usual) - 1)} may be missing."
            )
        if step < (1 - _UNEVEN) * usual:
            raise DataError(
                f"{before.name}: the next slice, {after.path.name}, is {step:g} mm away, "
                f"others are {usual:g} mm apart."
            )


def _check_line(
    path: Path, frames: list[Frame], places: NDArray[np.float64], normal: NDArray[np.float64]
) -> None:
    """Demand that slices follow each other on a line, straight up or tilted.

    Raises:
        DataError: naming the first file that lies beside it by more than a pixel.
    """
    positions = np.array([frame.position for frame in frames])
    part = (places - places[0]) / (places[-1] - places[0])
    beside = positions - positions[0] - part[:, None] * (positions[-1] - positions[0])
    beside -= (beside @ normal)[:, None] * normal
    away_mm = np.linalg.norm(beside, axis=1)
    worst = int(away_mm.argmax())
    if away_mm[worst] > max(frames[0].spacing_mm):
        raise DataError(
            f"{frames[worst].name} lies {away_mm[worst]:g} mm beside the line of the others in "
            f"{path.name}."
        )


def _text(values: object) -> str:
    return "\\".join(f"{value:g}" for value in np.asarray(values).ravel())

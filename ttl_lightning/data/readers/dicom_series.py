"""Volumes of DICOM: a folder with the slices of one series, or one multi-frame file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ttl_lightning.data.readers.dicom_geometry import Frame, frames_of, ordered, steps_mm
from ttl_lightning.data.readers.dicom_pixels import measured
from ttl_lightning.data.readers.dicom_tags import is_dicom
from ttl_lightning.data.readers.heeded import heeded
from ttl_lightning.data.readers.picture import DICOM
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.readers.volume import assemble, missing_package, naming
from ttl_lightning.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

_HEADER = [
    "SeriesInstanceUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


def read_dicom_series(path: Path) -> Reading:
    """One series, its slices ordered by position and turned to the patient's closest axes.

    Values pass through the modality transform (rescale slope and intercept, or table), slice by
    slice. No window is applied and MONOCHROME1 is not inverted: values are what was measured.
    Neither file names nor instance numbers say anything here. The slices of a tilted gantry are
    taken as they were scanned, a sheared grid; their spacing is the way from slice to slice.

    Args:
        path: a folder with one series, or one multi-frame (or single) file.

    Raises:
        ConfigError: naming the extra, if pydicom is not installed.
        DataError: naming the file, if it cannot be read or decoded, holds colour or no position;
            or if files do not fit together: several series, orientations, sizes or spacings, a
            missing slice, two slices at one place.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise missing_package(path, "pydicom", "dicom") from None
    # the first slice of a mixed folder can be anything: sorted, so that the error is the same
    files = sorted(dicom_files(path)) if path.is_dir() else [path]
    with heeded(path):
        frames = ordered(path, _frames(path, files))
        shape = (len(frames), *frames[0].size)
        with naming(path):
            return assemble(_slices(frames), shape, steps_mm(frames))


def dicom_files(folder: Path) -> Iterator[Path]:
    """Files directly in a folder that are DICOM by suffix or content, but for DICOMDIR.

    An empty file without a suffix is taken for what is left of one.

    Raises:
        DataError: naming a file that cannot be opened.
    """
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
            continue
        emptied = not path.suffix and path.stat().st_size == 0
        with naming(path):
            found = emptied or path.name.lower().endswith(DICOM) or is_dicom(path)
        if found:
            yield path


def slice_files(folder: Path) -> list[Path]:
    """The files of a folder's one series in the order of its slices, from feet to head.

    Raises:
        DataError: as of `read_dicom_series`.
    """
    frames = ordered(folder, _frames(folder, sorted(dicom_files(folder))))
    return [frame.path for frame in frames]


def _frames(path: Path, files: list[Path]) -> list[Frame]:
    """Geometry of every slice, from the headers alone."""
    import pydicom

    headers: dict[Path, Dataset] = {}
    first: dict[str, Path] = {}
    for file in files:
        with naming(file):
            if not is_dicom(file):
                raise ValueError("it is no DICOM file, there is no DICM at byte 128")
            headers[file] = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_HEADER)
            if series := headers[file].get("SeriesInstanceUID"):
                first.setdefault(str(series), file)
    if len(first) > 1:
        (one, in_one), (other, in_other), *_ = first.items()
        raise DataError(
            f"{path} holds {len(first)} series, expected one: {one} ({in_one.name}) and "
            f"{other} ({in_other.name})."
        )
    frames: list[Frame] = []
    for file, header in headers.items():
        with naming(file):
            frames += frames_of(file, header)
    if not frames:
        raise DataError(f"{path} holds no DICOM files.")
    return frames


def _slices(frames: list[Frame]) -> Iterator[NDArray[Any]]:
    """Rescaled pixels, with one file at a time in memory."""
    import pydicom

    dataset: Dataset | None = None
    for previous, frame in zip([None, *frames[:-1]], frames, strict=True):
        with naming(frame.path):
            if dataset is None or previous is None or previous.path != frame.path:
                dataset = pydicom.dcmread(frame.path)
            values = measured(dataset, frame.number)
            if values.shape != frame.size:
                raise ValueError(f"its pixels have shape {values.shape}, not {frame.size}")
        yield values

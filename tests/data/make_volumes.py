"""Writes one known volume as a DICOM series, an enhanced DICOM file or a NIfTI file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SPACING_MM = (2.5, 0.8, 0.7)
SERIES = "1.2.3.4"

# DICOM's patient axes run to the left, the back and the head.
TOWARDS = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}
CANONICAL = "SPL"
OPPOSITE = {"I": "S", "A": "P", "R": "L"}
ORIGIN_MM = np.array([-100.0, -80.0, 30.0])


def phantom(shape: tuple[int, int, int] = (5, 6, 7)) -> np.ndarray:
    """(S, P, L) int16 Hounsfield units without any symmetry."""
    return np.random.default_rng(0).integers(-1000, 1500, shape, dtype=np.int16)


def stored_as(voxels: np.ndarray, axes: str) -> np.ndarray:
    """The canonical volume with axes that run towards the letters given."""
    order = [CANONICAL.index(OPPOSITE.get(letter, letter)) for letter in axes]
    flips = tuple(slice(None, None, -1 if letter in OPPOSITE else 1) for letter in axes)
    return voxels.transpose(order)[flips]


def write_series(
    folder: Path,
    voxels: np.ndarray,
    axes: str = CANONICAL,
    *,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
    change: Callable[[int, Any], None] | None = None,
    in_order: bool = False,
) -> list[Path]:
    """One file a slice; neither names nor instance numbers follow the position.

    Args:
        axes: what slices, the index of rows and the index of columns run towards.
        change: may alter a slice's dataset before it is written.
        in_order: number the instances by position after all.

    Returns:
        The files, in the order of the positions along `axes[0]`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored, rng = stored_as(voxels, axes), np.random.default_rng(1)
    names, numbers = rng.permutation(len(stored)), rng.permutation(len(stored))
    paths = []
    for index, pixels in enumerate(stored):
        dataset = _grey(pixels)
        dataset.InstanceNumber = str((index if in_order else int(numbers[index])) + 1)
        dataset.ImageOrientationPatient = [*TOWARDS[axes[2]], *TOWARDS[axes[1]]]
        dataset.ImagePositionPatient = list(_place(voxels.shape, spacing_mm, axes, index))
        dataset.PixelSpacing = list(_spacing(spacing_mm, axes)[1:])
        dataset.SliceThickness = _spacing(spacing_mm, axes)[0]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        if change is not None:
            change(index, dataset)
        path = folder / (f"{names[index]:04d}.dcm" if index % 2 else f"IM{names[index]}")
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def only(index: int, **tags: Any) -> Callable[[int, Any], None]:
    """For `write_series`: changes the tags of one slice."""

    def change(number: int, dataset: Any) -> None:
        if number == index:
            for tag, value in tags.items():
                setattr(dataset, tag, value)

    return change


def write_enhanced(path: Path, voxels: np.ndarray, axes: str = CANONICAL) -> Path:
    """An enhanced multi-frame file with its frames in no order, every second at half the slope."""
    from pydicom.dataset import Dataset

    def item(**tags: Any) -> Dataset:
        made = Dataset()
        for tag, value in tags.items():
            setattr(made, tag, value)
        return made

    stored = stored_as(voxels, axes)
    order = np.random.default_rng(2).permutation(len(stored))
    slopes = [1.0 if number % 2 else 0.5 for number in range(len(order))]
    frames = [
        ((stored[index].astype(np.int32) + 1024) / slope).astype(np.uint16)
        for index, slope in zip(order, slopes, strict=True)
    ]
    dataset = _grey(np.stack(frames), offset=0)
    dataset.NumberOfFrames = len(frames)
    ways = [*TOWARDS[axes[2]], *TOWARDS[axes[1]]]
    spacing = _spacing(SPACING_MM, axes)
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=ways)],
            PixelMeasuresSequence=[item(PixelSpacing=list(spacing[1:]), SliceThickness=spacing[0])],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[
                item(ImagePositionPatient=list(_place(voxels.shape, SPACING_MM, axes, int(index))))
            ],
            PixelValueTransformationSequence=[
                item(RescaleSlope=slope, RescaleIntercept=-1024, RescaleType="HU")
            ],
        )
        for index, slope in zip(order, slopes, strict=True)
    ]
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_nifti(
    path: Path,
    voxels: np.ndarray,
    axes: str = "RAS",
    *,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> Path:
    """The volume with NIfTI's axes in the order given, turned by nibabel."""
    import nibabel
    from nibabel.orientations import axcodes2ornt, ornt_transform

    between, down, across = spacing_mm
    affine = np.diag([across, down, between, 1.0])
    canonical = nibabel.Nifti1Image(voxels[:, ::-1, ::-1].transpose(2, 1, 0), affine)
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    nibabel.save(canonical.as_reoriented(turn), path)
    return path


def _grey(pixels: np.ndarray, offset: int = 1024) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = SERIES
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = (pixels.astype(np.int32) + offset).astype(np.uint16).tobytes()
    return dataset


def _spacing(spacing_mm: tuple[float, float, float], axes: str) -> list[float]:
    return [spacing_mm[CANONICAL.index(OPPOSITE.get(letter, letter))] for letter in axes]


def _place(
    shape: tuple[int, ...], spacing_mm: tuple[float, float, float], axes: str, index: int
) -> np.ndarray:
    """Where the first voxel of a slice lies (PS3.3 C.7.6.2.1.1)."""
    place = ORIGIN_MM.copy()
    for number, letter in enumerate(axes):
        axis = CANONICAL.index(OPPOSITE.get(letter, letter))
        start = shape[axis] - 1 if letter in OPPOSITE else 0
        steps = start + (0 if number else index * (-1 if letter in OPPOSITE else 1))
        place += steps * spacing_mm[axis] * np.array(TOWARDS[CANONICAL[axis]])
    return place

"""Pixels of DICOM files and of NIfTI slices, as a reader of radiographs would see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.dicom_pixels import shown, stored
from ttl_lightning.data.dicom_tags import frames_in
from ttl_lightning.data.nifti import load_nifti
from ttl_lightning.data.reading import missing_package

Pixels = tuple[NDArray[Any], float, float]
"""(H, W) or (H, W, 3), with the values of black and of white."""


def read_dicom(path: Path, slice_index: int | None = None) -> Pixels:
    """One frame of a DICOM file.

    Grey passes through the modality transform (rescale slope and intercept, or table) and, where
    the file has one, the first window or table of its values of interest; those of the frame, where
    an enhanced file has them. The range is what the stored bits can hold, passed through the same
    transforms. MONOCHROME1 is inverted, so that white
    is dense in every image.

    Raises:
        ConfigError: naming the extra, if pydicom is not installed.
        ValueError: if there is no such frame, or the photometric interpretation is not known.
    """
    try:
        import pydicom
        from pydicom.pixels import processing
    except ImportError:
        raise missing_package(path, "pydicom", "dicom") from None
    dataset = pydicom.dcmread(path)
    kind = str(dataset.get("PhotometricInterpretation", ""))
    frame = middle(slice_index, frames_in(dataset))
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        values, low, high = shown(dataset, frame)
        return (low + high - values if kind == "MONOCHROME1" else values), low, high
    values = stored(dataset, frame)
    if kind == "PALETTE COLOR":
        values = processing.apply_color_lut(values, dataset)
    elif not (kind == "RGB" or kind.startswith("YBR")):
        raise ValueError(f"photometric interpretation {kind!r} is not known")
    return values, 0.0, float(np.iinfo(values.dtype).max)


def read_nifti(path: Path, slice_index: int | None = None) -> Pixels:
    """One axial slice of a NIfTI file, shown as radiologists do.

    That is with the front up and the patient's right side on the left.
    The stored order of axes does not matter: the affine says which is which. The range is that of
    the whole volume, so that slices of one volume compare.

    Raises:
        ConfigError: naming the extra, if nibabel is not installed.
        ValueError: if the file is not a 2D or 3D image, has no such slice, or is not finite.
    """
    volume = load_nifti(path)
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    chosen = volume.voxels[middle(slice_index, len(volume.voxels))]
    return chosen.astype(np.float64), low, high


def middle(slice_index: int | None, count: int) -> int:
    """The slice asked for, or the middle one.

    Raises:
        ValueError: if there is no such slice.
    """
    chosen = count // 2 if slice_index is None else slice_index
    if not 0 <= chosen < count:
        raise ValueError(f"slice {chosen} is not from 0 to {count - 1}")
    return chosen

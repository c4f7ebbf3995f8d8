"""Pixels of DICOM files and of NIfTI slices, as a reader of radiographs would see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ttl_lightning.data.readers.dicom_pixels import shown, stored
from ttl_lightning.data.readers.dicom_tags import frames_in
from ttl_lightning.data.readers.nifti import load_nifti
from ttl_lightning.data.readers.reading import LeftOut, Reading, to_storage
from ttl_lightning.data.readers.volume import missing_package


def read_dicom(path: Path, slice_index: int | None = None) -> Reading:
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
    frames = frames_in(dataset)
    frame = middle(slice_index, frames)
    left_out = LeftOut(images=frames if slice_index is None else 1)
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        values, low, high = shown(dataset, frame)
        values = low + high - values if kind == "MONOCHROME1" else values
        return Reading(to_storage(values, low, high), left_out)
    values = stored(dataset, frame)
    if kind == "PALETTE COLOR":
        values = processing.apply_color_lut(values, dataset)
    elif not (kind == "RGB" or kind.startswith("YBR")):
        raise ValueError(f"photometric interpretation {kind!r} is not known")
    high = float(np.iinfo(values.dtype).max)
    return Reading(to_storage(values, 0.0, high), left_out)


def read_nifti(path: Path, slice_index: int | None = None) -> Reading:
    """One axial slice of a NIfTI file, shown as radiologists do.

    That is with the front up and the patient's right side on the left.
    The stored order of axes does not matter: the affine says which is which. The range is that of
    the whole volume, so that slices of one volume compare.

    Raises:
        ConfigError: naming the extra, if nibabel is not installed.
        ValueError: if the file is not a 2D or 3D image, has no such slice, or is not finite.
    """
    volume = load_nifti(path)
    low, high = float(volume.pixels.min()), float(volume.pixels.max())
    slices = len(volume.pixels)
    chosen = volume.pixels[middle(slice_index, slices)]
    left_out = LeftOut(images=slices if slice_index is None else 1, scale=True)
    return Reading(to_storage(chosen.astype(np.float64), low, high), left_out)


def middle(slice_index: int | None, count: int) -> int:
    """The slice asked for, or the middle one.

    Raises:
        ValueError: if there is no such slice.
    """
    chosen = count // 2 if slice_index is None else slice_index
    if not 0 <= chosen < count:
        raise ValueError(f"slice {chosen} is not from 0 to {count - 1}")
    return chosen

"""Volumes of NIfTI files."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.readers.heeded import heeded
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.readers.volume import assemble, closest_axes, missing_package, naming

_UNIT_MM = {"meter": 1000.0, "micron": 0.001}  # NIfTI's other lengths: mm, and unknown
MOST_BYTES = 16 * 1024**3
"""Of one volume's values as the file types them: a study of 8 GiB is larger than any scanner's."""
_CHUNK = 1 << 20
_SINGULAR = 1e-3  # volume of the axes' unit vectors: 1 where they are perpendicular


def read_nifti_volume(path: Path) -> Reading:
    """One .nii or .nii.gz file, turned to the patient's closest axes by its affine.

    Slope and intercept are applied. An oblique volume is not resampled: its axes are taken for the
    closest ones of the patient. Without any transform in the header, NIfTI's own rule holds:
    columns run to the patient's left, rows to the front, slices to the head.

    Raises:
        ConfigError: naming the extra, if nibabel is not installed.
        DataError: naming the file, if it is not one image of 2 or 3 dimensions, is damaged, has a
            singular affine, or a voxel that is not finite.
    """
    with naming(path), heeded(path):
        return load_nifti(path)


def nifti_bytes(voxels: NDArray[np.uint8], source: Path | None, mm: Sequence[float]) -> bytes:
    """A .nii.gz file of a volume as `assemble` gives it.

    Args:
        voxels: (S, H, W).
        source: the NIfTI file that the grid is of, whose axes and affine the file then has; else
            its axes are those of `voxels`, and where in space it lies is not known.
        mm: spacing of the slices, rows and columns; NaN counts as 1.

    Raises:
        ConfigError: naming the extra, if nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError:
        raise missing_package(source or Path("a mask"), "nibabel", "nifti") from None
    make: Any = nibabel.Nifti1Image
    if source is None:
        between, down, across = (1.0 if math.isnan(step) else step for step in mm)
        image = make(voxels.transpose(2, 1, 0), np.diag([-across, -down, between, 1.0]))
    else:
        given: Any = nibabel.load(source)
        order, turned = closest_axes(_steps_mm(given)[[2, 0, 1]])
        flips = tuple(slice(None, None, -1) if turn else slice(None) for turn in turned)
        stored = voxels[flips].transpose(np.argsort(order))  # slices, columns and rows of the file
        image = make(stored.transpose(1, 2, 0), given.affine)
    content: bytes = gzip.compress(image.to_bytes(), mtime=0)
    return content


def load_nifti(path: Path) -> Reading:
    """`read_nifti_volume`, with errors as they come.

    Raises:
        ConfigError: naming the extra, if nibabel is not installed.
        ValueError: if the file is not such an image.
        Exception: what nibabel raises for a damaged file.
    """
    try:
        import nibabel
    except ImportError:
        raise missing_package(path, "nibabel", "nifti") from None
    image: Any = nibabel.load(path)
    if len(image.shape) < 2 or any(extent != 1 for extent in image.shape[3:]):
        raise ValueError(f"expected one 2D or 3D image, got shape {tuple(image.shape)}")
    _check_size(path, image)
    columns, rows, slices = (*image.shape, 1)[:3]
    # the file's first axis changes fastest, so a slice of the last one is read in one go
    steps_mm = _steps_mm(image)[[2, 0, 1]]
    stored = image.dataobj.get_unscaled()
    if stored.dtype.kind not in "iuf":
        raise ValueError(f"values of type {stored.dtype} are not grey levels")
    layers = stored.reshape((columns, rows, slices), order="F")
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    return assemble(_scaled(layers, slope, intercept), (slices, columns, rows), steps_mm)


def _check_size(path: Path, image: Any) -> None:
    """Demand what the header promises, before memory is taken for it; and a packed file's checksum.

    Raises:
        ValueError: if the file holds less, or it is more than a volume can be.
        OSError: if a packed file's checksum is not that of what is in it.
    """
    promised = math.prod(image.shape) * image.dataobj.dtype.itemsize + int(image.dataobj.offset)
    if promised > MOST_BYTES:
        raise ValueError(f"its header promises {promised:,} bytes, more than {MOST_BYTES:,}")
    packed = path.name.lower().endswith(".gz")
    held = _unpacked_bytes(path, most=promised + _CHUNK) if packed else path.stat().st_size
    if held < promised:
        raise ValueError(f"its header promises {promised:,} bytes, the file holds {held:,}")


def _unpacked_bytes(path: Path, most: int) -> int:
    """Length of what is in a .gz file, read to its end, where its checksum is compared.

    Raises:
        ValueError: if it is more than `most`.
        OSError: if the checksum differs.
    """
    held = 0
    with gzip.open(path) as stream:
        while part := stream.read(_CHUNK):
            held += len(part)
            if held > most:
                raise ValueError(f"it unpacks to more than the {most:,} bytes that it promises")
    return held


def _scaled(layers: NDArray[Any], slope: float, intercept: float) -> Iterator[NDArray[Any]]:
    """Slices along the last axis; the type stays where there is nothing to scale."""
    for index in range(layers.shape[2]):
        layer = np.asarray(layers[:, :, index])
        if (slope, intercept) != (1.0, 0.0):
            layer = layer.astype(np.float64) * slope + intercept
        yield layer


def _steps_mm(image: Any) -> NDArray[np.float64]:
    """(3, 3), for each axis of the file the way from a voxel to the next, to left, back and head.

    Raises:
        ValueError: if the axes do not span space.
    """
    unit, _ = image.header.get_xyzt_units()
    # columns of the affine lead to the right, the front and the head
    steps: NDArray[np.float64] = image.affine[:3, :3].T * (-1, -1, 1) * _UNIT_MM.get(unit, 1.0)
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    if not np.isfinite(steps).all() or not lengths.all():
        raise ValueError("its affine has an axis without length")
    if abs(np.linalg.det(steps / lengths)) < _SINGULAR:
        raise ValueError("two axes of its affine are the same")
    return steps

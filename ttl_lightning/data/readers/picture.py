"""Safe reading of one image file, of whatever kind."""

from __future__ import annotations

from pathlib import Path

from ttl_lightning.data.content import file_mark
from ttl_lightning.data.readers.dicom_tags import is_dicom
from ttl_lightning.data.readers.heeded import heeded
from ttl_lightning.data.readers.pillow import MOST_PIXELS, read_picture
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.readers.slices import read_dicom, read_nifti
from ttl_lightning.data.readers.volume import naming
from ttl_lightning.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
DICOM = (".dcm", ".dicom")
NIFTI = (".nii", ".nii.gz")
SUFFIXES = (*PICTURES, *DICOM, *NIFTI)


class FileImages:
    """Image files, each with the slice to take, if it has several."""

    decoders = 8

    def __init__(
        self,
        paths: list[Path],
        slices: list[int | None] | None = None,
        most_pixels: int = MOST_PIXELS,
    ) -> None:
        self._paths, self._most_pixels = paths, most_pixels
        self._slices = slices or [None] * len(paths)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    def read(self, row: int) -> Reading:
        """Decode one.

        Raises:
            DataError: naming the file, if it cannot be read.
        """
        return read_image(self._paths[row], self._slices[row], self._most_pixels)

    def fingerprint(self, row: int) -> str:
        """Path, time, size and slice.

        Raises:
            DataError: naming the file, if it does not exist.
        """
        path = self._paths[row]
        try:
            return f"{file_mark(path)}|{self._slices[row]}"
        except OSError as error:
            raise DataError(f"cannot read image {path}: {error.strerror}.") from None


def read_image(
    path: Path, slice_index: int | None = None, most_pixels: int = MOST_PIXELS
) -> Reading:
    """Read PNG, JPEG, TIFF, BMP, DICOM or NIfTI.

    Eight-bit grey and colour come as they are. Deeper grey is scaled by the range of its own type
    (NIfTI, signed and 32-bit numbers and floating point: of its own values) to the whole of uint16,
    so nothing is clipped. Palettes are resolved, EXIF rotation is applied. Alpha is dropped. Colour
    deeper than eight bits keeps its upper eight, which is what Pillow reads.

    Args:
        path: the file.
        slice_index: of a volume or a file with several pages; the middle one by default.
        most_pixels: of a picture; a larger one is refused before it is decoded.

    Raises:
        DataError: naming the file and what is wrong with it.
        ConfigError: if the package that reads this kind of file is not installed.
    """
    name = path.name.lower()
    with naming(f"image {path}"):
        if not path.is_file():
            raise ValueError("no such file")
        if path.stat().st_size == 0:
            raise ValueError("the file has 0 bytes")
        with heeded(path):
            if name.endswith(DICOM) or (not name.endswith(SUFFIXES) and is_dicom(path)):
                return read_dicom(path, slice_index)
            if name.endswith(NIFTI):
                return read_nifti(path, slice_index)
            return read_picture(path, slice_index, most_pixels)


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name; without a suffix, whether it is DICOM by content."""
    if path.suffix:
        return path.name.lower().endswith(SUFFIXES)
    try:
        return path.is_file() and is_dicom(path)
    except OSError:
        return False

"""Studies as files: one DICOM series a folder, one multi-frame DICOM, NIfTI or .npy file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ttl_lightning.data.readers.archive import ARRAY, read_array
from ttl_lightning.data.readers.dicom_series import dicom_files, read_dicom_series
from ttl_lightning.data.readers.dicom_tags import is_dicom
from ttl_lightning.data.readers.nifti import read_nifti_volume
from ttl_lightning.data.readers.picture import DICOM, NIFTI
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.readers.volume import naming
from ttl_lightning.errors import DataError

SUFFIXES = (*NIFTI, ARRAY)
"""Of studies that are one file; DICOM files are known by their content."""


class StudyFiles:
    """Studies by row, one file or folder each.

    Args:
        paths: as `find_studies` gives them.
    """

    decoders = 1

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        """Number of studies."""
        return len(self._paths)

    def read(self, row: int) -> Reading:
        """One study.

        Raises:
            ConfigError: naming the extra, if the package that reads it is not installed.
            DataError: naming the file, if it cannot be read.
        """
        return read_volume(self._paths[row])

    def path(self, row: int) -> Path:
        """Where one lies."""
        return self._paths[row]

    def fingerprint(self, row: int) -> str:
        """Path, and time and size of the file, or of every file of the folder.

        Raises:
            DataError: naming the file, if it does not exist.
        """
        path = self._paths[row]
        with naming(path):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            digest = hashlib.blake2b(digest_size=16)
            for file in files:
                status = file.stat()
                digest.update(f"{file.name}|{status.st_mtime_ns}|{status.st_size}\n".encode())
            return f"{path.resolve()}|{digest.hexdigest()}"


def read_volume(path: Path) -> Reading:
    """A folder with one DICOM series, a multi-frame DICOM file, a .nii, .nii.gz or .npy file.

    Raises:
        ConfigError: naming the extra, if the package that reads it is not installed.
        DataError: naming the file, if it is none of these or cannot be read.
    """
    name = path.name.lower()
    if not path.exists():
        raise DataError(f"cannot read {path}: no such file or folder.")
    if name.endswith(NIFTI) and path.is_file():
        return read_nifti_volume(path)
    if name.endswith(ARRAY) and path.is_file():
        return read_array(path)
    with naming(path):
        known = path.is_dir() or name.endswith(DICOM) or is_dicom(path)
    if known:
        return read_dicom_series(path)
    raise DataError(
        f"{path} is no volume: expected a folder with a DICOM series, a DICOM file, or a file "
        f"that ends in {' or '.join(SUFFIXES)}."
    )


def find_studies(root: Path) -> dict[str, Path]:
    """Every NIfTI and .npy file below a folder, and every folder that directly holds DICOM files.

    Names that begin with a dot are passed over; links to folders are followed.

    Returns:
        Paths by study, in the order of the names: a study's path below the root, with slashes and
        without .nii, .nii.gz or .npy. A root that holds a series itself is named as its folder is.

    Raises:
        DataError: if there is none, two have one name, or a folder cannot be listed.
    """
    found: dict[str, Path] = {}

    def add(path: Path) -> None:
        name = root.resolve().name if path == root else path.relative_to(root).as_posix()
        if path.is_file():
            name = name[: -len(".nii.gz" if name.lower().endswith(".gz") else path.suffix)]
        if name in found:
            raise DataError(f"study {name!r} is both {found[name]} and {path}.")
        found[name] = path

    def fail(error: OSError) -> None:
        raise DataError(f"cannot list {error.filename}: {error.strerror}.") from error

    for text, folders, files in os.walk(root, onerror=fail, followlinks=True):
        folder = Path(text)
        real = folder.resolve()
        folders[:] = [
            name
            for name in folders
            # a link to a folder around this one would lead round and round
            if not name.startswith(".") and not real.is_relative_to((folder / name).resolve())
        ]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                add(folder / name)
        if any(True for _ in dicom_files(folder)):
            add(folder)
    if not found:
        raise DataError(
            f"no studies below {root}: expected files that end in {' or '.join(SUFFIXES)}, "
            "or folders with one DICOM series each."
        )
    return dict(sorted(found.items()))

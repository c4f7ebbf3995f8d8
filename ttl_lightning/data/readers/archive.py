"""Studies as bare arrays: in one .npz or HDF5 file, as PENet has them, or one .npy file each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.content import file_mark
from ttl_lightning.data.readers.nifti import MOST_BYTES
from ttl_lightning.data.readers.npz_members import check_members
from ttl_lightning.data.readers.reading import UNKNOWN_MM, Reading
from ttl_lightning.data.readers.volume import assemble, missing_package, naming
from ttl_lightning.errors import UnknownNameError

HDF5 = (".h5", ".hdf5")
ARCHIVES = (".npz", *HDF5)
ARRAY = ".npy"

# How many times smaller packing makes values at best.
MOST_TIMES = 1100
# Slices, rows and columns as stored are taken for the patient's, who is not asked.
_AS_STORED = np.eye(3)[::-1]


class ArchiveStudies:
    """Studies of an archive, by row: (slices, rows, columns) each, in Hounsfield units.

    The archive says neither how the patient lies nor how large a voxel is: slices keep the order
    and the orientation that they are stored in, and every spacing is NaN.

    Args:
        path: a .npz, .h5 or .hdf5 file.
        names: of the datasets, as `study_names` gives them.
    """

    decoders = 1

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path, self._names = path, list(names)

    def __len__(self) -> int:
        """Number of studies."""
        return len(self._names)

    def read(self, row: int) -> Reading:
        """One study, without the others.

        Raises:
            ConfigError: naming the extra, if h5py is needed and not installed.
            DataError: naming the file and the study, if it cannot be read or holds no volume.
        """
        name = self._names[row]
        with naming(self._path / name), _opened(self._path, [name]) as archive:
            if name not in archive:
                raise ValueError("there is no such study")
            return _as_stored(archive[name])

    def fingerprint(self, row: int) -> str:
        """Path, time and size of the archive, and the study's name.

        Raises:
            DataError: naming the file, if it does not exist.
        """
        with naming(self._path):
            return f"{file_mark(self._path)}|{self._names[row]}"


def read_array(path: Path) -> Reading:
    """The study of a .npy file: (slices, rows, columns), as in an archive.

    Raises:
        DataError: naming the file, if it cannot be read or holds no volume.
    """
    with naming(path):
        return _as_stored(np.load(path, mmap_mode="r", allow_pickle=False))


def study_names(path: Path) -> list[str]:
    """Names of an archive's datasets, in the order of the file; those in groups as group/name.

    Raises:
        ConfigError: naming the extra, if h5py is needed and not installed.
        DataError: naming the file, if it cannot be read or holds none.
    """
    with naming(path), _opened(path, []) as archive:
        if isinstance(archive, np.lib.npyio.NpzFile):
            names = list(archive.files)
        else:
            names = []
            # links are not followed: they may lead out of the file
            archive.visititems(lambda name, item: names.append(name) if _is_dataset(item) else None)
        if not names:
            raise ValueError("it holds no studies")
        return names


@contextmanager
def _opened(path: Path, names: Sequence[str]) -> Iterator[Any]:
    """The archive as a mapping of names to arrays; pickled objects are refused.

    Args:
        path: of the archive.
        names: of the arrays that will be read.

    Raises:
        ConfigError: naming the extra, if h5py is needed and not installed.
        UnknownNameError: for another suffix.
        Exception: what NumPy and h5py raise for a damaged file.
    """
    suffix = path.suffix.lower()
    if suffix not in ARCHIVES:
        raise UnknownNameError("archive of studies", path.name, ARCHIVES)
    if suffix == ".npz":
        check_members(path, names)
        # NumPy leaves a damaged archive open unless it is given an open file
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is no .npz archive")  # noqa: TRY004 - of a file, not of an argument
            with archive:
                yield archive
        return
    try:
        import h5py
    except ImportError:
        raise missing_package(path, "h5py", "volumes") from None
    with h5py.File(path, "r") as file:
        yield file


def _as_stored(stored: Any) -> Reading:
    """An array as a study.

    Raises:
        ValueError: if it is none.
    """
    shape: Any = getattr(stored, "shape", ())
    if len(shape) != 3 or stored.dtype.kind not in "iuf":
        raise ValueError(
            "a study is numbers of shape (slices, rows, columns), got "
            f"{getattr(stored, 'dtype', 'a group')} {shape}"
        )
    _check_size(stored)
    return assemble(_slices(stored), shape, _AS_STORED)._replace(spacing_mm=UNKNOWN_MM)


def _is_dataset(item: Any) -> bool:
    return hasattr(item, "dtype")


def _check_size(stored: Any) -> None:
    """Demand a data set that is as large as it says, and no larger than a volume can be.

    HDF5 gives values for what was never written; an .npz file's arrays are checked as it is opened.

    Raises:
        ValueError: if it is not.
    """
    promised = math.prod(stored.shape) * stored.dtype.itemsize
    if promised > MOST_BYTES:
        raise ValueError(f"it promises {promised:,} bytes, more than {MOST_BYTES:,}")
    held = getattr(getattr(stored, "id", None), "get_storage_size", lambda: promised)()
    if promised > MOST_TIMES * max(held, 1):
        raise ValueError(f"it promises {promised:,} bytes and holds {held:,}")


def _slices(stored: Any) -> Iterator[NDArray[Any]]:
    """Slices in order; of HDF5 as many at a time as are stored together."""
    step = (getattr(stored, "chunks", None) or (1,))[0]
    for start in range(0, stored.shape[0], step):
        yield from stored[start : start + step]

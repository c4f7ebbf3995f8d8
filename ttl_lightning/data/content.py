"""What data are, wherever they lie: hashes of a file's bytes, many files' names, pixels."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.errors import DataError


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, read once a process for as long as its time and size stay.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    try:
        status = path.stat()
        return _hash(path.resolve(), status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from None


def file_mark(path: Path) -> str:
    """Where a file lies, its time and size: another text whenever it may have changed.

    Raises:
        OSError: if it does not exist.
    """
    status = path.stat()
    return f"{path.resolve()}|{status.st_mtime_ns}|{status.st_size}"


def listing_hash(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 of files' names and sizes in the order of the names, without reading them.

    A file that is changed and keeps its size is not noticed: bytes of a hundred thousand images
    are not read again for every job. One that is missing counts as that.

    Args:
        files: each with its name, which is the same wherever all of them lie.
    """
    digest = hashlib.sha256()
    for name, path in sorted(files):
        try:
            size = str(path.stat().st_size)
        except OSError:
            size = "missing"
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def pixel_hash(image: NDArray[Any]) -> str:
    """Hash of shape, type and values."""
    digest = hashlib.blake2b(f"{image.shape}{image.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


@functools.lru_cache(maxsize=256)
def _hash(path: Path, _time_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

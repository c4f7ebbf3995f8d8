"""What an .npz file promises to unpack to, looked at before memory is taken for it."""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

MOST_BYTES = 64 * 1024**3
"""Of one array: more than any set of images that fits the memory of the machines it is read on."""
METHODS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1100}
"""Ways of packing that are read, and how many times smaller they can make a thing."""


def check_members(path: Path, names: Iterable[str] | None = None) -> None:
    """Demand arrays that are as large as they say, and no larger than what can be read.

    Args:
        path: the .npz file.
        names: of the arrays that are wanted; None: all. One that is not there is passed over.

    Raises:
        ValueError: naming the array.
        zipfile.BadZipFile: if the archive is damaged; one that is none is left to NumPy.
    """
    if not zipfile.is_zipfile(path):
        return
    wanted = None if names is None else {f"{name}.npy" for name in names}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if wanted is None or member.filename in wanted:
                _check(archive, member)


def source_of(shape: tuple[int, ...]) -> str | None:
    """Which source takes images of this shape: a last axis of three is colour."""
    if len(shape) == 4:
        return "npz" if shape[3] == 3 else "npz3d"
    return "npz" if len(shape) == 3 else None


def shape_of(path: Path, name: str) -> tuple[int, ...] | None:
    """The shape that an array's header says; None if there is no such file, array or header.

    Args:
        path: the .npz file.
        name: of the array.
    """
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            # read as far as it unpacks by the ways that are known, and needs no password
            if member.compress_type not in METHODS or member.flag_bits & 1:
                return None
            return _header(archive, member)[0]
    except (OSError, ValueError, KeyError, EOFError, TypeError, NotImplementedError, MemoryError,
            RecursionError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile,
            zlib.error):  # fmt: skip
        return None


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    name = member.filename.removesuffix(".npy")
    if member.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if member.compress_type not in METHODS:
        raise ValueError(f"{name} is packed in a way that NumPy does not write")
    if member.file_size > METHODS[member.compress_type] * max(member.compress_size, 1):
        raise ValueError(
            f"{name} says that it unpacks to {member.file_size:,} bytes, which it cannot"
        )
    shape, kind, start = _header(archive, member)
    promised = math.prod(shape) * kind.itemsize
    if promised > MOST_BYTES:
        raise ValueError(f"{name} promises {promised:,} bytes, more than {MOST_BYTES:,}")
    # of one that promises less a part is read, and the checksum, which is of the whole, by nobody
    held = member.file_size - start
    if promised > member.file_size or (promised != held and not kind.hasobject):
        raise ValueError(f"{name} promises {promised:,} bytes and holds {held:,}")


def _header(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and kind that an array says it has, and where its values start; they stay packed."""
    with archive.open(member) as stream, warnings.catch_warnings():
        for category in (DeprecationWarning, SyntaxWarning):  # of an escape that is none
            warnings.simplefilter("error", category)
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            name = member.filename.removesuffix(".npy")
            raise ValueError(
                f"{name} has version {version} of NumPy's format, known are 1.0 and 2.0"
            )
        shape, _, kind = read(stream)
        return shape, kind, stream.tell()

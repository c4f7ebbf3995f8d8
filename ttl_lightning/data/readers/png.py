"""Checksums of PNG files, which Pillow does not compare where they are of pixels."""

from __future__ import annotations

import zlib
from typing import IO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_OF_PIXELS = (b"IDAT", b"fdAT")
_AT_A_TIME = 1 << 20


def check_png(file: IO[bytes]) -> None:
    """Demand of a PNG that its chunks of pixels are whole; other files pass.

    Args:
        file: at its start.

    Raises:
        ValueError: if one is damaged or cut off.
    """
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        left, name = int.from_bytes(head[:4], "big"), head[4:]
        if name not in _OF_PIXELS:  # Pillow compares these
            file.seek(left + 4, 1)
            continue
        found = zlib.crc32(name)
        while left and (part := file.read(min(left, _AT_A_TIME))):
            found, left = zlib.crc32(part, found), left - len(part)
        if file.read(4) != found.to_bytes(4, "big"):
            raise ValueError(
                "the image is truncated" if left else "the checksum of its pixels differs"
            )

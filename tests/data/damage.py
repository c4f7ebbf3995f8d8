"""Ways to damage a file's bytes, and to damage what lies behind its checksums and seal it again."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random

Damage = Callable[[Random, bytes], bytes]

_HEADER = 256  # bytes at a file's start, where half of all damages go
_LONGEST = 64  # run of bytes that is overwritten, left out or put in
_PNG = 8  # bytes before a PNG's first chunk


def _place(rng: Random, content: bytes) -> int:
    end = min(len(content), _HEADER) if rng.random() < 0.5 else len(content)
    return rng.randrange(max(end, 1))


def _over(content: bytes, at: int, new: bytes) -> bytes:
    """As long as before."""
    return (content[:at] + new + content[at + len(new) :])[: len(content)]


def _cut(rng: Random, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def _flipped(rng: Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return _over(content, at, bytes([content[at] ^ 1 << rng.randrange(8)])) if content else content


def _zeros(rng: Random, content: bytes) -> bytes:
    return _over(content, _place(rng, content), bytes(rng.randint(1, _LONGEST)))


def _ones(rng: Random, content: bytes) -> bytes:
    return _over(content, _place(rng, content), b"\xff" * rng.randint(1, _LONGEST))


def _noise(rng: Random, content: bytes) -> bytes:
    return _over(content, _place(rng, content), rng.randbytes(rng.randint(1, _LONGEST)))


def _left_out(rng: Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + content[at + rng.randint(1, _LONGEST) :]


def _put_in(rng: Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + rng.randbytes(rng.randint(1, _LONGEST)) + content[at:]


def _huge(rng: Random, content: bytes) -> bytes:
    """A number of 2, 4 or 8 bytes that is as large as it can be, or nearly."""
    size, order = rng.choice((2, 4, 8)), rng.choice(("little", "big"))
    most = (1 << 8 * size - rng.randint(0, 12)) - 1
    return _over(content, _place(rng, content), most.to_bytes(size, order))


def _appended(rng: Random, content: bytes) -> bytes:
    return content + rng.randbytes(rng.randint(1, 4 * _LONGEST))


DAMAGES: dict[str, Damage] = {
    "emptied": lambda _, content: content[:0],
    "one byte": lambda _, content: content[:1],
    "cut": _cut,
    "flipped": _flipped,
    "zeros": _zeros,
    "ones": _ones,
    "noise": _noise,
    "left out": _left_out,
    "put in": _put_in,
    "huge": _huge,
    "appended": _appended,
}
ONCE = ("emptied", "one byte")


def in_gzip(rng: Random, content: bytes, damage: Damage) -> bytes:
    """Damages what a .gz file holds."""
    return gzip.compress(damage(rng, gzip.decompress(content)), mtime=0)


def in_zip(rng: Random, content: bytes, damage: Damage) -> bytes:
    """Damages one part of a .zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        chosen = rng.choice(old.namelist())
        for part in old.infolist():
            held = old.read(part)
            new.writestr(part, damage(rng, held) if part.filename == chosen else held)
    return packed.getvalue()


def in_png(rng: Random, content: bytes, damage: Damage) -> bytes:
    """Damages one chunk of a PNG, or the pixels before they are packed."""
    chunks, at = [], _PNG
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    chosen, deep = rng.randrange(len(chunks) - 1), rng.random() < 0.5
    sealed = content[:_PNG]
    for number, (name, held) in enumerate(chunks):
        if number == chosen:
            if name == b"IDAT" and deep:
                held = zlib.compress(damage(rng, zlib.decompress(held)))
            else:
                held = damage(rng, held)
        sealed += struct.pack(">I", len(held)) + name + held
        sealed += struct.pack(">I", zlib.crc32(name + held))
    return sealed

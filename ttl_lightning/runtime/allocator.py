"""Freed memory that stays with the process, which a training step takes again at once."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator

# mallopt(3): what glibc holds at the top of the heap, and the size from which it maps a piece alone
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30
# where glibc itself arrives once large pieces have been freed
USUAL = {TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20}


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed in the block; hand it back to the system after it.

    glibc gives large pieces back as they are freed and is given them again page by page, which
    takes a twentieth of a small network's step on a CPU. Without glibc nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    for key in USUAL:
        libc.mallopt(key, KEPT)
    try:
        yield
    finally:
        for key, value in USUAL.items():
            libc.mallopt(key, value)
        libc.malloc_trim(0)

"""What a machine ran out of, in one line: space, memory, the right to write."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ttl_lightning.errors import TTLError

WAYS_OUT = {
    errno.ENOSPC: "free some space, and give the same command again",
    errno.EDQUOT: "free some of the quota, and give the same command again",
    errno.EFBIG: "the limit on the size of files is too low",
    errno.EROFS: "give hydra.run.dir=FOLDER where it can be written",
    errno.EACCES: "give hydra.run.dir=FOLDER where it can be written",
    errno.EPERM: "give hydra.run.dir=FOLDER where it can be written",
    errno.ENOTDIR: "give hydra.run.dir=FOLDER where it can be made",
    errno.EISDIR: "a folder lies where a file is to be; move it away",
    errno.EEXIST: "give hydra.run.dir=FOLDER where it can be made",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}
# What allocators say; none of them has a type of its own on the CPU.
OUT_OF_MEMORY = ("bad_alloc", "can't allocate memory", "not enough memory", "out of memory")
SHARED = ("shared memory", "/dev/shm", "bus error")


class ShortageError(TTLError):
    """The machine lacks space, memory or rights."""


def check_folder(folder: Path) -> None:
    """Demand a folder that is there to write into, or can be made; nothing is made yet.

    Raises:
        ShortageError: saying what is in the way.
    """
    for place in (folder, *folder.absolute().parents):
        try:
            there = place.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise shortage(error) or ShortageError(f"{folder}: {error.strerror}.") from error
        if not stat.S_ISDIR(there.st_mode):
            raise ShortageError(f"{place} is a file: {WAYS_OUT[errno.ENOTDIR]}.")
        if not os.access(place, os.W_OK | os.X_OK):
            raise ShortageError(f"{place} cannot be written: {WAYS_OUT[errno.EROFS]}.")
        return


def shortage(error: BaseException) -> ShortageError | None:
    """The line that says what was lacking and the way out; None if an error is of another kind."""
    if isinstance(error, OSError) and error.errno in WAYS_OUT:
        where = f" {error.filename}" if error.filename else ""
        return ShortageError(f"{error.strerror}{where}: {WAYS_OUT[error.errno]}.")
    text = str(error).lower()
    if isinstance(error, RuntimeError | OSError) and any(word in text for word in SHARED):
        return ShortageError(
            "the loaders' processes ran out of shared memory (/dev/shm): give data.num_workers=0, "
            "or a larger /dev/shm."
        )
    gpu = "cuda" in text or "gpu" in text
    if isinstance(error, MemoryError) or any(word in text for word in OUT_OF_MEMORY):
        return ShortageError(
            f"out of {'GPU ' if gpu else ''}memory: lower data.batch_size or data.image_size"
            f"{'' if gpu else ', or give data.cache=disk or none'}."
        )
    return None

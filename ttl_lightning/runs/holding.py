"""One process at a time in a run's folder, and who it is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from lightning_fabric.utilities.rank_zero import rank_zero_only

from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.records.files import remove_parts, write_atomically
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runtime.shortage import shortage

WAIT_S = 3.0
"""What a process that was killed just now may take to be gone."""


def is_main_process() -> bool:
    """Whether this process writes the results: the only one, or rank 0 of several."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a run's folder, and have it for this process and the ranks that it started.

    Raises:
        ConfigError: if another process has it, naming that one; or if it cannot be made or written.
    """
    if not is_main_process():
        yield
        return
    run = RunFolder(folder)
    lock = FileLock(run.lock)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=WAIT_S)
        remove_parts(folder, run.checkpoints, run.analysis)
        write_atomically(run.holder, json.dumps(_this()).encode())
    except Timeout:
        raise ConfigError(
            f"another run has the folder {folder} just now ({holder(folder)}): wait for it, or "
            "give another hydra.run.dir."
        ) from None
    except OSError as error:
        raise ConfigError(f"the run's folder {folder}: {shortage(error) or error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            run.holder.unlink(missing_ok=True)
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process runs in the folder."""
    run = RunFolder(folder)
    if not run.lock.is_file():
        return False
    try:
        with FileLock(run.lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # one may look into a folder without the right to write there
        return run.holder.is_file()


def holder(folder: Path) -> str:
    """The process that runs in the folder, as far as it says so itself."""
    try:
        told = json.loads(RunFolder(folder).holder.read_text(encoding="utf-8"))
        return f"process {int(told['pid'])} on {told['host']!s:.80}, since {told['since']!s:.40}"
    except (OSError, ValueError, KeyError, TypeError):
        return "which does not say who it is"


def completed(folder: Path) -> RunResult:
    """The result of a run that has come to its end.

    Raises:
        DataError: if there is none, or it has not, with what can be done.
    """
    result = RunResult.load(folder)
    if result.status == "completed":
        return result
    if result.status == "running" and is_held(folder):
        state = f"is being trained just now, by {holder(folder)}"
    elif result.status == "running":
        state = "was cut off while it ran: the same command goes on from where it stopped"
    elif result.status == "paused":
        state = "is paused: the same command without until_epoch goes on"
    else:
        state = f"is {result.status}: the same command goes on from where it stopped"
    best = RunFolder(folder).best
    so_far = f" Its best epoch so far is {best}." if best.is_file() else ""
    raise DataError(f"{folder} holds a run that is not completed: it {state}.{so_far}")


def _this() -> dict[str, object]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}

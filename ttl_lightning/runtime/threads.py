"""How many threads a run computes with: as many processors as it may use and others leave free.

Two threads of which one waits for a busy processor are slower than one: each layer waits for the
slower of them. torch's own number counts the machine's processors, whoever uses them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch
from joblib import cpu_count

# For so long the others are watched: longer than the slices of time that the system deals out.
WATCHED_S = 0.25
# What sets the number from outside, as it does for torch and for a sweep's jobs.
GIVEN = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Threads:
    """How many, and why.

    Attributes:
        count: threads.
        reason: in words.
    """

    count: int
    reason: str


def usable() -> int:
    """Processors that this process may use: of its affinity and its container's share."""
    return max(1, min(torch.get_num_threads(), int(cpu_count())))


def choose(
    wanted: int | str, kept: int | None = None, busy: float | None = None, processes: int = 1
) -> Threads:
    """The number of threads of a run.

    Args:
        wanted: a number, or "auto".
        kept: what the run began with, if it goes on: sums are then in the order that they were in.
        busy: processors that others compute on; None: as they are seen for `WATCHED_S`.
        processes: of the run on this machine, which share what is free.
    """
    if wanted != "auto":
        return Threads(int(wanted), "trainer.threads")
    if os.environ.get(GIVEN):
        return Threads(torch.get_num_threads(), GIVEN)
    most = usable()
    if kept is not None and kept <= most:
        return Threads(kept, "as the run began")
    if most == 1:
        return Threads(1, "of 1 processor")
    others = busy_elsewhere() if busy is None else busy
    count = max(1, spare(others) // processes)
    taken = f", others compute on {others:.1f}" if count < most // processes else ""
    return Threads(count, f"of {most} processors{taken}")


def spare(busy: float) -> int:
    """Processors that this process may use and others leave free, one at least.

    Args:
        busy: processors that others compute on.
    """
    most = usable()
    # of a machine that is larger than this process's share of it, others take what is left first
    return max(1, min(most, round((os.cpu_count() or most) - busy)))


def busy_elsewhere(seconds: float = WATCHED_S) -> float:
    """Processors that are busy with other processes, as seen for so long; 0 where none can tell."""
    try:
        begun, used, ours = time.perf_counter(), _used(), time.process_time()
        time.sleep(seconds)
        passed = time.perf_counter() - begun
        return max(0.0, (_used() - used - (time.process_time() - ours)) / passed)
    except (OSError, psutil.Error):
        return 0.0


def _used() -> float:
    """Seconds that all processors have computed, each counted."""
    times = psutil.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def used(count: int) -> Iterator[None]:
    """Compute with so many, in processes that are started, too; afterwards all is as before."""
    before, given = torch.get_num_threads(), os.environ.get(GIVEN)
    torch.set_num_threads(count)
    os.environ[GIVEN] = str(count)  # without it, Lightning sets a number of its own for its ranks
    try:
        yield
    finally:
        torch.set_num_threads(before)
        os.environ.pop(GIVEN)
        if given is not None:
            os.environ[GIVEN] = given

from __future__ import annotations

import multiprocessing
import platform
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from ttl_lightning.runtime.allocator import freed_memory_kept

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
PAGE = resource.getpagesize()
FLOATS, MB = 12 << 20, 48


def taken_anew() -> float:
    """Share of 48 MB, taken and freed sixteen times, that the system had to hand out."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(16):
        torch.ones(FLOATS)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults * PAGE / (16 * MB << 20)


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / (1 << 20)


@glibc
def test_memory_of_the_step_before_is_taken_again() -> None:
    """In a process whose allocator nothing has set yet."""
    anew = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=anew) as alone:
        before, within = alone.submit(_measured).result()
    assert before > 0.9
    assert within < 0.5


def _measured() -> tuple[float, float]:
    before = taken_anew()
    with freed_memory_kept():
        taken_anew()
        return before, taken_anew()


def trained(error: Exception | None) -> float:
    """MB of the process while the block ran."""
    with freed_memory_kept():
        torch.ones(FLOATS)
        during = resident_mb()
        if error:
            error.during = during
            raise error
    return during


@glibc
def test_afterwards_it_goes_back_to_the_system() -> None:
    during = trained(None)
    assert resident_mb() < during - 0.9 * MB


@glibc
def test_after_an_error_too() -> None:
    with pytest.raises(ValueError, match="in training") as caught:
        trained(ValueError("in training"))
    assert resident_mb() < caught.value.during - 0.9 * MB


def test_without_glibc_nothing_happens(monkeypatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    with freed_memory_kept():
        pass

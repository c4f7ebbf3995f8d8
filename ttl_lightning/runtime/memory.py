"""Memory of a process: of the GPU if it trains there, else resident; its peak, and what is free."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import psutil
import torch

PROCESS = Path("/proc/self")
GROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes that are free: of the GPU, else of the machine or this process's share of it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        limit, used = ((GROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        free = min(free, max(0, int(limit) - int(used)))
    return free


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new stretch, where the system lets a process do so."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")  # Linux, proc(5): sets VmHWM to the present size


def peak_memory_mb(device: torch.device) -> float:
    """The peak since the reset, in MB (10^6 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text())
        if found:
            return int(found[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6

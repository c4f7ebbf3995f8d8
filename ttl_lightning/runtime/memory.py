"""Peak memory of a stretch of a process: of the GPU if it trains there, else resident memory."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


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

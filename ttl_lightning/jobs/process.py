"""One command in a process group of its own, within limits, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ttl_lightning.errors import check_number

POLL_S = 0.1
MEMORY_POLL_S = 0.5
# What a stopped job gets to write down where it is, before it is killed.
GRACE_S = 20.0
# Tells a job that its standard input ends when the process that started it does.
SUPERVISED = "TTL_LIGHTNING_SUPERVISED"
# What an outer torchrun, Lightning or MPI says of itself is not true of the job.
INHERITED_RANKS = (
    "RANK", "GLOBAL_RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK",
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE",
    "MASTER_ADDR", "MASTER_PORT",
    "TORCHELASTIC_RUN_ID", "PL_GLOBAL_SEED", "PL_SEED_WORKERS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job may use.

    Attributes:
        timeout_min: minutes from start to end; None: any.
        mem_gb: gigabytes (10^9 bytes) of resident memory, of all its processes together; None: any.

    Raises:
        ConfigError: if one is not positive.
    """

    timeout_min: float | None = None
    mem_gb: float | None = None

    def __post_init__(self) -> None:
        for name in ("timeout_min", "mem_gb"):
            if getattr(self, name) is not None:
                check_number(f"hydra.launcher.{name}", getattr(self, name), 1e-6)


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended: its return code (minus the signal's number), and why it was stopped."""

    returncode: int
    stopped: str | None = None


def environment(given: Mapping[str, str], *, slurm_task: bool = False) -> dict[str, str]:
    """A job's environment: without the ranks of an outer job, and of Slurm if it is no task of it.

    Args:
        given: variables to start from.
        slurm_task: whether the job is one rank of a Slurm step, which Lightning reads itself.
    """
    kept = {
        key: value
        for key, value in given.items()
        if key not in INHERITED_RANKS and (slurm_task or not key.startswith("SLURM_"))
    }
    return {**kept, SUPERVISED: "1"}


def run(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path,
    env: Mapping[str, str],
    limits: Limits,
    stop: threading.Event,
) -> End:
    """Run a command to its end, or until a limit or `stop`; nothing of it is left alive.

    Args:
        command: program and arguments.
        log: file that its output is appended to.
        cwd: folder to run it in.
        env: all its environment variables.
        limits: what it may use.
        stop: when set, the command is interrupted as by Ctrl-C, and after a grace period killed.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            # Closed by the system when this process dies, however it dies.
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _watch(process, limits, stop)
    finally:
        _signal(process, signal.SIGKILL)  # what the main process left behind, too
        process.wait()
        if process.stdin:
            process.stdin.close()


def _watch(process: subprocess.Popen[bytes], limits: Limits, stop: threading.Event) -> End:
    started = looked = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return End(process.wait(POLL_S))
        now = time.monotonic()
        if stop.is_set():
            return _end(process, "interrupted")
        if limits.timeout_min is not None and now - started > 60 * limits.timeout_min:
            return _end(
                process,
                f"took longer than its {limits.timeout_min:g} minutes (hydra.launcher.timeout_min)",
            )
        if limits.mem_gb is not None and now - looked > MEMORY_POLL_S:
            looked = now
            used = memory_gb(process.pid, limits.mem_gb)
            if used > limits.mem_gb:
                _signal(process, signal.SIGKILL)
                return End(
                    process.wait(),
                    f"used {used:.2f} GB of memory, more than its {limits.mem_gb:g} GB "
                    "(hydra.launcher.mem_gb)",
                )


def _end(process: subprocess.Popen[bytes], why: str) -> End:
    """Interrupt, then kill."""
    _signal(process, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        return End(process.wait(GRACE_S), why)
    _signal(process, signal.SIGKILL)
    return End(process.wait(), why)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def memory_gb(pid: int, enough: float) -> float:
    """Memory of a process and its descendants, in 10^9 bytes.

    Pages that they share are counted once where that is known, which is slow, so only when the sum
    that counts them for each is above `enough`.
    """
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
        resident = sum(_bytes(member, "rss") for member in family)
        if resident <= enough * 1e9 or len(family) == 1:
            return resident / 1e9
        return sum(_bytes(member, "pss") or _bytes(member, "rss") for member in family) / 1e9
    return 0.0


def _bytes(process: psutil.Process, kind: str) -> int:
    with suppress(psutil.Error):
        info = process.memory_info() if kind == "rss" else process.memory_full_info()
        return int(getattr(info, kind, 0))
    return 0


def die_with_parent() -> None:
    """In a job: kill its whole group as soon as the process that started it is gone.

    It also heeds an interrupt, which a sweep that nohup or a shell's & started has been told to
    ignore: its jobs are interrupted before they are killed.
    """
    if os.environ.get(SUPERVISED) is None:
        return
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="die with parent").start()

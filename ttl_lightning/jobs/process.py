"""A process group of its own for a command or a function, within limits, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil

from ttl_lightning.errors import check_number
from ttl_lightning.jobs.server import SUPERVISED, Forked, forked

POLL_S = 0.1
MEMORY_POLL_S = 0.5
# What a stopped job gets to write down where it is, before it is killed.
GRACE_S = 20.0
# What an outer torchrun, Lightning or MPI says of itself is not true of the job.
INHERITED_RANKS = (
    "RANK", "GLOBAL_RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK",
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE",
    "MASTER_ADDR", "MASTER_PORT",
    "TORCHELASTIC_RUN_ID", "PL_GLOBAL_SEED", "PL_SEED_WORKERS",
)  # fmt: skip


T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, and environment variables of its own."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)

    def start(self, log: Path, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start it, in a process group of its own; its standard input ends with this process."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.arguments,
                cwd=cwd,
                env={**env, **self.variables},
                # Closed by the system when this process dies, however it dies.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a module, called in a fork of a process that has all imports and no state."""

    function: Callable[..., object]
    arguments: tuple[Any, ...]

    def start(self, log: Path, cwd: Path, env: Mapping[str, str]) -> Forked:
        """As `Command.start`."""
        return forked(self.function, self.arguments, log, cwd, env)


Task = Command | Call
Process = subprocess.Popen[bytes] | Forked
"""The leader of its process group."""


def call(function: Callable[..., T], *arguments: object) -> T:
    """What a function gives, called in a process of its own: what it takes on a GPU is free then.

    Args:
        function: of a module.
        arguments: what can be pickled, as the value and the errors, which are raised here.

    Raises:
        ChildProcessError: if the process died.
    """
    env, arguments = environment(os.environ), (function, arguments)
    with forked(_answer, arguments, None, Path.cwd(), env) as process:
        try:
            code = process.wait()
        finally:
            _signal(process, signal.SIGKILL)
    if process.answer is None:
        raise ChildProcessError(code, f"its process ended with status {code}")
    value, error = cast("tuple[T, Exception | None]", process.answer)
    if error is not None:
        raise error
    return value


def _answer(
    function: Callable[..., T], arguments: tuple[Any, ...]
) -> tuple[T | None, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 - it is raised where the function was called
        error.add_note(traceback.format_exc())
        return None, error


def run(
    task: Task,
    log: Path,
    *,
    cwd: Path,
    env: Mapping[str, str],
    limits: Limits,
    stop: threading.Event,
) -> End:
    """Run a task to its end; afterwards nothing of it is left alive.

    Args:
        task: what to run.
        log: file that its output is appended to.
        cwd: folder to run it in.
        env: all its environment variables.
        limits: what it may use.
        stop: when set, the task is interrupted as by Ctrl-C, and after a grace period killed.
    """
    try:
        process = task.start(log, cwd, env)
    except OSError as error:
        return End(1, f"could not be started: {error}")
    with process:
        try:
            return _watch(process, limits, stop)
        finally:
            _signal(process, signal.SIGKILL)  # what the main process left behind, too


def _watch(process: Process, limits: Limits, stop: threading.Event) -> End:
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


def _end(process: Process, why: str) -> End:
    """Interrupt, then kill."""
    _signal(process, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        return End(process.wait(GRACE_S), why)
    _signal(process, signal.SIGKILL)
    return End(process.wait(), why)


def _signal(process: Process, number: signal.Signals) -> None:
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

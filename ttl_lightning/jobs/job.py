"""One job of a sweep: what it is, whether it is done, and its run in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from ttl_lightning.config import compose as config
from ttl_lightning.config.identity import differences, digest
from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import DataError
from ttl_lightning.jobs.alone import task_of
from ttl_lightning.jobs.process import End, Limits, environment, run
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.fingerprint import Known, identity, left_in
from ttl_lightning.runs.record import described

LOG_TAIL_LINES = 20
ENDED = ("completed", "failed", "paused")
WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep.

    Attributes:
        overrides: what the command line would say, Hydra's own settings left out.
        spec: its whole configuration.
        composed: the same with Hydra's own settings, as of one run in its folder.
        folder: where its results lie, absolute.
        cwd: the folder where the sweep was started; relative paths begin there.
        identity: the values that bear on its result.
    """

    overrides: tuple[str, ...]
    spec: RunSpec
    composed: DictConfig
    folder: Path
    cwd: Path
    identity: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that bears on its result."""
        return digest(self.identity)

    @property
    def _files(self) -> RunFolder:
        return RunFolder(self.folder)

    @classmethod
    def from_hydra(
        cls,
        composed: DictConfig,
        folder: Path | None = None,
        known: Known | None = None,
    ) -> Job:
        """Make the job of a configuration that Hydra composed for it.

        Args:
            composed: the configuration.
            folder: where its results lie; by default as `hydra.sweep` says.
            known: as in `fingerprint.identity`.

        Raises:
            TTLError: if its network, data or weights are not to be had.
        """
        settings = composed.hydra
        cwd = Path(settings.runtime.cwd)
        folder = cwd / (folder or Path(settings.sweep.dir) / str(settings.sweep.subdir))
        alone, spec = composed.copy(), spec_of(composed)
        with read_write(alone.hydra):
            alone.hydra.mode, alone.hydra.run.dir = RunMode.RUN, str(folder)
            for key in ("launcher", "sweeper"):  # whose types cannot be pickled for some plugins
                alone.hydra[key] = OmegaConf.create(OmegaConf.to_container(settings[key]))
        overrides = tuple(settings.overrides.task)
        return cls(overrides, spec, alone, folder, cwd, identity(spec.values, known))

    def result(self) -> RunResult | None:
        """What the folder says of this very job; None if nothing."""
        with suppress(DataError):
            found = RunResult.load(self.folder)
            return found if left_in(self.folder, found) == self.fingerprint else None
        return None

    def settled(self, since: float) -> RunResult | None:
        """The result if there is nothing left to run.

        Args:
            since: time (as `time.time()`); a failure that another sweep saw after it counts.
        """
        found = self.result()
        if found is None:
            return None
        fresh = self._files.result.stat().st_mtime >= since
        if found.status == "failed" or self.spec.resume == "never":
            return found if fresh and found.status in ENDED else None
        until = self.spec.until_epoch
        enough = found.status == "paused" and until is not None
        if found.status == "completed" or (enough and found.train["epochs"] >= until):
            return found
        return None

    def attempt(
        self,
        *,
        since: float,
        limits: Limits,
        stop: threading.Event,
        variables: Mapping[str, str],
    ) -> RunResult | None:
        """Run the job unless it is done; None if another process runs it just now.

        Args:
            since: when the sweep began; see `settled`.
            limits: what the job may use.
            stop: interrupts it.
            variables: the environment, as `os.environ` with what is set for this job.
        """
        if done := self.settled(since):
            return done
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._files.job_lock, timeout=0):
                if done := self.settled(since):
                    return done
                started = time.time()
                end = self._run(limits, stop, environment(variables))
                return self._record(end, started)
        except Timeout:
            return None

    def finish(self) -> RunResult:
        """Run the job to its end, or wait until another process did; for foreign launchers."""
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            return self._as_slurm_task()
        since, stop = time.time(), threading.Event()
        while True:
            found = self.attempt(since=since, limits=Limits(), stop=stop, variables=os.environ)
            if found:
                return found
            time.sleep(WAIT_S)

    def _as_slurm_task(self) -> RunResult:
        """One rank of a run whose ranks Slurm starts, on several machines perhaps."""
        started = time.time()
        end = self._run(Limits(), threading.Event(), environment(os.environ, slurm_task=True))
        if os.environ.get("SLURM_PROCID", "0") == "0":
            return self._record(end, started)
        return self.result() or self._described()

    def _run(self, limits: Limits, stop: threading.Event, env: Mapping[str, str]) -> End:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self._files.log
        task = task_of(self.composed, self.spec)
        return run(task, log, cwd=self.cwd, env=env, limits=limits, stop=stop)

    def _record(self, end: End, started: float) -> RunResult:
        """Make `result.json` say how the job ended, whatever the job could write itself."""
        found = self.result()
        # What lies there from before says nothing of this time, in which the job wrote nothing.
        fresh = found and self._files.result.stat().st_mtime >= started
        if end.returncode == 0 and found and fresh and found.succeeded:
            return found
        if end.stopped == "interrupted":
            return self._ended("interrupted", None)
        own = found.error if found and fresh and found.status in ("failed", "interrupted") else None
        other = self._turned_other(started) if end.returncode == 0 else None
        said = end.stopped or own or other
        return self._ended("failed", said or cause(end.returncode, tail(self._files.log)))

    def ended(self, since: float) -> bool:
        """Whether its `result.json` says how it ended, in the sweep that began at `since`."""
        found = self.result()
        if found is None or found.status == "running":
            return False
        fresh = self._files.result.stat().st_mtime >= since
        return fresh or self.settled(since) is not None

    def abandoned(self) -> bool:
        """Whether it began, and no process has it any more."""
        found = self.result()
        if found is None or found.status != "running":
            return False
        try:
            with FileLock(self._files.job_lock, timeout=0):
                return True
        except Timeout:
            return False

    def lost(self, why: str) -> RunResult:
        """Record that the launcher brought nothing back."""
        return self._ended("failed", why)

    def _ended(self, status: str, error: str | None) -> RunResult:
        """Write down how it ended."""
        result = self.result() or self._described()
        log = tail(self._files.log)
        result = replace(result, status=status, error=error, log_tail=log)
        self.folder.mkdir(parents=True, exist_ok=True)
        result.save(self.folder)
        return result

    def _described(self) -> RunResult:
        return described(self.spec, self.overrides, self.identity)

    def _turned_other(self, started: float) -> str | None:
        """Why a run that ended well is not this one, or None: its data may have been changed."""
        with suppress(DataError, OSError):
            found = RunResult.load(self.folder)
            names = differences(self.identity, found.identity)
            if names and self._files.result.stat().st_mtime >= started:
                return f"{', '.join(names)} changed while the sweep ran: give it again"
        return None


def spec_of(composed: DictConfig) -> RunSpec:
    """A job's configuration, of that with Hydra's own settings.

    Raises:
        ConfigError: naming the first key that is not as it should be.
    """
    own = [str(key) for key in composed if key != "hydra"]
    return config.typed(OmegaConf.masked_copy(composed, own))


def cause(returncode: int, log: Sequence[str]) -> str:
    """Why a process ended that could not say so itself, in one line."""
    last = log[-1] if log else ""
    if returncode < 0:
        name = signal.Signals(-returncode).name
        short = " (does the system lack memory?)" if name == "SIGKILL" else ""
        return f"killed by {name}{short}" + (f"; its log ends: {last}" if last else "")
    if last.startswith("error: "):
        return last.removeprefix("error: ")
    return f"exited with status {returncode}" + (f"; its log ends: {last}" if last else "")


def tail(log: Path) -> list[str]:
    """The last lines of a log that are not empty."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        lines = [line.rstrip() for line in file.read().decode(errors="replace").splitlines()]
        return [line[:1000] for line in lines if line][-LOG_TAIL_LINES:]
    return []

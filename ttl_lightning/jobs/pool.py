"""Several jobs at once on one machine: who is next, and on which devices."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from ttl_lightning.config import compose as config
from ttl_lightning.errors import check_number
from ttl_lightning.jobs.job import WAIT_S, Job
from ttl_lightning.jobs.process import Limits, environment
from ttl_lightning.jobs.server import warm_up
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runtime.memory import free_memory
from ttl_lightning.runtime.threads import busy_elsewhere, spare, usable

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
# Memory that a job is taken to need, in gigabytes (10^9 bytes), where no limit is given.
JOB_GB = 8.0


class Pool:
    """Runs jobs, `n_jobs` at once, each in a process of its own.

    Args:
        n_jobs: jobs at once; None: one for each GPU; without any, as many as there are processors
            to spare, and memory: a cut network's steps are too short to share one among threads.
        limits: what each job may use.
        devices: the GPUs to deal out, as `CUDA_VISIBLE_DEVICES` names them; None: those there are.

    Raises:
        ConfigError: if n_jobs is not positive.
    """

    def __init__(
        self,
        n_jobs: int | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        devices: Sequence[str] | None = None,
    ) -> None:
        self.devices = Devices(gpus() if devices is None else devices)
        check_number("hydra.launcher.n_jobs", 1 if n_jobs is None else n_jobs, 1, integer=True)
        self.limits = limits
        self.fixed = n_jobs is not None or bool(self.devices.names)
        self.n_jobs = n_jobs or len(self.devices.names) or self._fitting()
        self.since = time.time()

    def run(self, jobs: Sequence[Job]) -> list[RunResult | None]:
        """Run all jobs; whatever becomes of one, the others run.

        Returns:
            Their results in the order given; None for one that was not reached.

        Raises:
            KeyboardInterrupt: if interrupted; the running jobs wrote down where they were.
        """
        workers = self._at_once(jobs)
        queue = deque(enumerate(jobs))
        results: list[RunResult | None] = [None] * len(jobs)
        stop, done = threading.Event(), Counter[str]()

        def work() -> None:
            while not stop.is_set():
                try:
                    number, job = queue.popleft()
                except IndexError:
                    return
                begun = time.monotonic()
                result = self._attempt(job, stop, workers)
                if result is None:  # another sweep has it: see to the others first
                    queue.append((number, job))
                    time.sleep(WAIT_S)
                    continue
                results[number] = result
                done[result.status] += 1
                _say(result, job, done.total(), len(jobs), time.monotonic() - begun)

        log.info("jobs at once: %d of %d (hydra.launcher.n_jobs)", workers, len(jobs))
        with ThreadPoolExecutor(workers, thread_name_prefix="job") as threads:
            futures = [threads.submit(work) for _ in range(workers)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                stop.set()
                raise
        return results

    def warm_up(self, cwd: Path) -> None:
        """Let the imports of its jobs begin, while others plan them; GPUs want them anew each time.

        Args:
            cwd: the folder where the sweep was started.
        """
        if not self.devices.names:
            warm_up(cwd, environment(self._variables(self.n_jobs)))

    def _fitting(self) -> int:
        """Jobs that this machine has room for without a GPU."""
        if torch.accelerator.is_available():  # one that is not dealt out, such as Apple's
            return 1
        each = (self.limits.mem_gb or JOB_GB) * 1e9
        room = int(free_memory(torch.device("cpu")) // each)
        return max(1, min(spare(busy_elsewhere()), room))

    def _at_once(self, jobs: Sequence[Job]) -> int:
        """How many of these run at a time: of several processes each (trainer=ddp) fewer fit."""
        processes = 1 if self.fixed else max(map(self._processes, jobs), default=1)
        return max(1, min(self.n_jobs // processes, len(jobs)))

    def _processes(self, job: Job) -> int:
        trainer = job.spec.trainer
        count = config.wanted_devices(trainer.accelerator, trainer.devices)
        return count or len(self.devices.names) or 1

    def _variables(self, processes: int) -> dict[str, str]:
        """The environment of a job, of so many processes that run at once in all."""
        threads = max(1, usable() // processes)
        # Two jobs that each take all cores are many times slower than one after the other.
        variables = {"OMP_NUM_THREADS": str(threads)} if processes > 1 else {}
        return {**variables, **os.environ}

    def _attempt(self, job: Job, stop: threading.Event, at_once: int) -> RunResult | None:
        trainer = job.spec.trainer
        count = config.wanted_devices(trainer.accelerator, trainer.devices)
        taken = self.devices.take(0 if trainer.accelerator == "cpu" else count)
        variables = self._variables(at_once * self._processes(job))
        if self.devices.names:
            variables[VISIBLE] = ",".join(taken)
        try:
            return job.attempt(since=self.since, limits=self.limits, stop=stop, variables=variables)
        finally:
            self.devices.give_back(taken)


class Devices:
    """Deals out GPUs, the least used first."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._used = Counter(dict.fromkeys(self.names, 0))
        self._lock = threading.Lock()

    def take(self, count: int | None) -> list[str]:
        """So many of the devices, or all of them if None or if there are no more."""
        with self._lock:
            order = sorted(self.names, key=lambda name: self._used[name])
            taken = order[:count]
            self._used.update(taken)
            return sorted(taken, key=self.names.index)

    def give_back(self, taken: Sequence[str]) -> None:
        """No longer in use."""
        with self._lock:
            self._used.subtract(taken)


def gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [name for name in given.split(",") if name.strip()]
    return [str(k) for k in range(torch.cuda.device_count())]


def _say(result: RunResult, job: Job, number: int, count: int, seconds: float) -> None:
    score = result.metrics.get(job.spec.protocol.monitor)
    parts = [
        f"[{number}/{count}] {os.path.relpath(job.folder, job.cwd)}: {result.status}",
        f"{job.spec.protocol.monitor} {score:.4f}" if score is not None else "",
        f"{seconds:.0f} s" if seconds > WAIT_S else "already",
        result.error or "",
    ]
    log.info(", ".join(part for part in parts if part))

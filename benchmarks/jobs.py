"""What a sweep costs beside its trainings.

    python benchmarks/jobs.py            # 20 jobs planned, 8 run
    python benchmarks/jobs.py --smoke    # 4 planned, 2 run

Seconds from a job's start (its lock) to its first training batch, seconds to plan jobs (from the
command line read to the first job begun, imports left out), and how often Hydra composes for each,
in the sweep's own process and in the jobs'. Give it at two versions to compare them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from hydra._internal.config_loader_impl import ConfigLoaderImpl

from ttl_lightning.cli.train import main as sweep
from ttl_lightning.jobs.job import LOCK_FILE
from ttl_lightning.jobs.pool import Pool

SMALL = (
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "latency=false",
    "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.precision=32-true",
    "protocol.batch_size=8", "data.train_size=16", "data.val_size=8", "data.test_size=8",
    "strategy=ttl", "cutoff=block2",
)  # fmt: skip
# Python imports it in each process: a line for each composition, with the process that made it.
COUNTED = """
import os
from hydra._internal.config_loader_impl import ConfigLoaderImpl
composed = ConfigLoaderImpl._load_configuration_impl
def counted(*arguments, **options):
    with open({file!r}, "a") as lines:
        print(os.getpid(), file=lines)
    return composed(*arguments, **options)
ConfigLoaderImpl._load_configuration_impl = counted
"""
STAMP = """
import time
from pathlib import Path
from pytorch_lightning import Callback
class Stamp(Callback):
    def on_train_batch_start(self, trainer, *_):
        file = Path(trainer.default_root_dir, "first_batch")
        file.exists() or file.write_text(str(time.time()))
"""


@contextlib.contextmanager
def counting() -> Iterator[list[int]]:
    """A list that grows by one with each composition of this process."""
    composed: Callable[..., Any] = ConfigLoaderImpl._load_configuration_impl
    calls: list[int] = []

    def counted(*arguments: object, **options: object) -> object:
        calls.append(1)
        return composed(*arguments, **options)

    with mock.patch.object(ConfigLoaderImpl, "_load_configuration_impl", counted):
        yield calls


def planned(jobs: int) -> tuple[float, float, float]:
    """Seconds until a pool is given so many jobs, those of the CPU, and compositions of each."""
    begun: list[tuple[float, float]] = []

    def run(_pool: Pool, given: list[Any]) -> list[None]:
        begun.append((time.perf_counter(), time.process_time()))
        assert len(given) == jobs
        raise KeyboardInterrupt

    argv = ["ttl_lightning", "-m", *SMALL, f"seed=range({jobs})"]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.object(Pool, "run", run),
        mock.patch.object(Pool, "warm_up", create=True),
        mock.patch.object(sys, "argv", argv),
        counting() as calls,
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.suppress(SystemExit),
    ):
        start, of_cpu = time.perf_counter(), time.process_time()
        sweep()
    return begun[0][0] - start, begun[0][1] - of_cpu, len(calls) / jobs


def started(jobs: int) -> tuple[list[float], float, float]:
    """Seconds to the first batch of each job; compositions a job, of the jobs and of the sweep."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "sitecustomize.py").write_text(COUNTED.format(file=str(folder / "composed")))
        (folder / "stamping.py").write_text(STAMP)
        own = ("+callbacks.stamp._target_=stamping.Stamp", "hydra.launcher.n_jobs=1")
        command = [sys.executable, "-m", "ttl_lightning", "-m", *SMALL, *own, f"seed=range({jobs})"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([place, *sys.path[1:]])}
        process = subprocess.Popen(
            command, cwd=place, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = process.communicate()
        if process.returncode:
            sys.exit(output)
        stamps = sorted(folder.rglob("first_batch"), key=lambda file: file.stat().st_mtime)
        assert len(stamps) == jobs
        seconds = [
            float(stamp.read_text()) - stamp.with_name(LOCK_FILE).stat().st_mtime
            for stamp in stamps
        ]
        pids = (folder / "composed").read_text().split()
        ours = pids.count(str(process.pid))
        return seconds, (len(pids) - ours) / jobs, ours / jobs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a few jobs, to see that it works")
    plan, run = (4, 2) if parser.parse_args().smoke else (20, 8)
    seconds, of_cpu, compositions = planned(plan)
    print(
        f"{plan} jobs planned in {seconds:.2f} s ({of_cpu:.2f} s of the CPU), "
        f"{compositions:.2f} compositions a job"
    )
    starts, of_job, of_sweep = started(run)
    print(
        f"first batch after {median(starts):.2f} s (first job {starts[0]:.2f}, quickest "
        f"{min(starts):.2f}, slowest {max(starts):.2f}) of {run} jobs"
    )
    print(f"compositions a job: {of_sweep:.2f} by the sweep, {of_job:.2f} by the job")


if __name__ == "__main__":
    main()

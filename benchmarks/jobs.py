"""What a sweep costs beside its trainings.

    python benchmarks/jobs.py            # 20 jobs
    python benchmarks/jobs.py --smoke    # 2

Seconds from a job's start (its lock) to its first training batch, how often Hydra composes for each
in the sweep's own process and in the jobs', and what the same command takes once more, when all is
done and nothing is left but to plan. Give it at two versions to compare them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ttl_lightning.records.folder import RunFolder

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


class Sweep(NamedTuple):
    """What a sweep of so many jobs took.

    starts: seconds to the first batch of each job, in their order.
    of_sweep: compositions a job in the sweep's own process.
    of_job: and in the job's.
    again: seconds of the same command once more.
    again_cpu: those of the CPU.
    """

    starts: list[float]
    of_sweep: float
    of_job: float
    again: float
    again_cpu: float


def swept(jobs: int) -> Sweep:
    """Run a sweep, and give the same command again."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        composed = folder / "composed"
        (folder / "sitecustomize.py").write_text(COUNTED.format(file=str(composed)))
        (folder / "stamping.py").write_text(STAMP)
        own = ("+callbacks.stamp._target_=stamping.Stamp", "hydra.launcher.n_jobs=1")
        command = [sys.executable, "-m", "ttl_lightning", "-m", *SMALL, *own, f"seed=range({jobs})"]
        sweep = _ran(command, place)
        stamps = sorted(folder.rglob("first_batch"), key=lambda file: file.stat().st_mtime)
        assert len(stamps) == jobs
        starts = [
            float(stamp.read_text()) - RunFolder(stamp.parent).job_lock.stat().st_mtime
            for stamp in stamps
        ]
        pids = composed.read_text().split()
        ours = pids.count(str(sweep))
        begun, before = time.perf_counter(), _of_children()
        _ran(command, place)
        again = time.perf_counter() - begun
        return Sweep(starts, ours / jobs, (len(pids) - ours) / jobs, again, _of_children() - before)


def _ran(command: list[str], place: str) -> int:
    """The number of the process, which must succeed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([place, *sys.path[1:]])}
    process = subprocess.Popen(
        command, cwd=place, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(output)
    return process.pid


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="two jobs, to see that it works")
    jobs = 2 if parser.parse_args().smoke else 20
    took = swept(jobs)
    first, *others = took.starts
    print(
        f"first batch after {median(others):.2f} s ({min(others):.2f} to {max(others):.2f}), of "
        f"the sweep's first job after {first:.2f} s; {jobs} jobs"
    )
    print(f"compositions a job: {took.of_sweep:.2f} by the sweep, {took.of_job:.2f} by the job")
    print(f"the same again, all done: {took.again:.1f} s, {took.again_cpu:.1f} s of the CPU")


if __name__ == "__main__":
    main()

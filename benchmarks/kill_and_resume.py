"""A sweep that is killed again and again ends as one that was not.

    python benchmarks/kill_and_resume.py --kills 20

Kills with SIGKILL, at random times, in turn the sweep itself and one of its jobs, each time giving
the same command again; then compares every metric with those of an undisturbed sweep. The exit
status is 0 if they are equal.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SMALL = (
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true", "protocol.batch_size=8", "data.train_size=64", "data.val_size=24",
    "data.test_size=24", "strategy=ttl", "cutoff=block1,block2,block3", "seed=0,1",
)  # fmt: skip


def start(folder: Path, epochs: int) -> subprocess.Popen[bytes]:
    """The sweep, in the background."""
    command = [sys.executable, "-m", "ttl_lightning", "-m", *SMALL, f"trainer.max_epochs={epochs}"]
    with (folder / "sweep.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)


def metrics(folder: Path) -> dict[str, dict[str, float]]:
    """Of every completed run, by its folder."""
    found = {}
    for path in folder.rglob("result.json"):
        result = json.loads(path.read_text())
        if result["status"] == "completed":
            found[path.parent.relative_to(folder).as_posix()] = result["metrics"]
    return found


def kill(sweep: subprocess.Popen[bytes], *, job: bool) -> str:
    """Kill the sweep or the first of its jobs; says which."""
    jobs = psutil.Process(sweep.pid).children() if sweep.poll() is None else []
    if job and jobs:
        jobs[0].kill()
        sweep.wait()
        return "a job"
    sweep.kill()
    sweep.wait()
    psutil.wait_procs(jobs, timeout=30)
    return "the sweep"


def main() -> None:
    """Run both sweeps and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as calm, tempfile.TemporaryDirectory() as disturbed:
        begin = time.monotonic()
        if start(Path(calm), arguments.epochs).wait() != 0:
            sys.exit(f"the undisturbed sweep failed: see {Path(calm) / 'sweep.log'}")
        whole_s = time.monotonic() - begin
        expected = metrics(Path(calm))
        print(f"undisturbed: {len(expected)} runs in {whole_s:.0f} s")
        for number in range(arguments.kills):
            sweep = start(Path(disturbed), arguments.epochs)
            # from before a job begins to the middle of its training, or of its last writing
            delay_s = draw.uniform(3, 3 + 2 * whole_s / len(expected))
            try:
                sweep.wait(delay_s)
            except subprocess.TimeoutExpired:
                victim = kill(sweep, job=number % 2 == 1)
            else:
                victim = "nothing: the sweep had ended"
            done = len(metrics(Path(disturbed)))
            print(f"kill {number + 1}: {victim} after {delay_s:.1f} s; {done} runs completed")
        status = start(Path(disturbed), arguments.epochs).wait()
        same = metrics(Path(disturbed)) == expected
        logs = [path.read_text() for path in Path(disturbed).rglob("job.log")]
        resumed = sum(log.count("going on from") for log in logs)
        print(f"resumed: status {status}, {resumed} times from a checkpoint, equal metrics: {same}")
    sys.exit(0 if same and status == 0 else 1)


if __name__ == "__main__":
    main()

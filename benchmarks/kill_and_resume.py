"""A sweep that is killed again and again ends as one that was not.

    python benchmarks/kill_and_resume.py --kills 20

Kills with SIGKILL, at random times, in turn the sweep itself and one of its jobs, and gives the
same command again whenever the sweep has ended; then compares every metric with those of an
undisturbed sweep. The exit status is 0 if they are equal.
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
    "trainer.accelerator=cpu", "trainer.precision=32-true", "protocol.batch_size=8",
    "data.train_size=64", "data.val_size=24", "data.test_size=24", "strategy=ttl",
    "cutoff=block1,block2,block3",
)  # fmt: skip


def start(folder: Path, size: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """The sweep, in the background."""
    command = [sys.executable, "-m", "ttl_lightning", "-m", *SMALL, *size]
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
    """Kill the sweep, or a job of it, with which the sweep goes on; says which."""
    jobs = psutil.Process(sweep.pid).children()
    if job and jobs:
        jobs[0].kill()
        return "a job"
    sweep.kill()
    sweep.wait()
    psutil.wait_procs(jobs, timeout=30)
    return "the sweep"


def disturbed(folder: Path, size: tuple[str, ...], kills: int, draw: random.Random) -> None:
    """Kill so many times, giving the command again whenever the sweep has ended."""
    sweep = start(folder, size)
    for number in range(kills):
        # from before a job begins to the middle of its training, or of its last writing
        delay_s = draw.uniform(1, 20)
        time.sleep(delay_s)
        if sweep.poll() is not None:
            sweep = start(folder, size)
            time.sleep(delay_s)
        victim = kill(sweep, job=number % 2 == 1) if sweep.poll() is None else "nothing: all done"
        print(f"{number + 1}: {victim}, {delay_s:.1f} s on; {len(metrics(folder))} runs completed")
    sweep.kill()
    sweep.wait()


def main() -> None:
    """Run both sweeps and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=4, help="three runs each")
    parser.add_argument("--smoke", action="store_true", help="two kills of three short runs")
    parser.add_argument("--draw", type=int, default=0, help="seed of the times")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.kills, arguments.epochs, arguments.seeds = 2, 20, 1
    size = (f"trainer.max_epochs={arguments.epochs}", f"seed=range({arguments.seeds})")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        calm, killed = Path(one), Path(other)
        begin = time.monotonic()
        if start(calm, size).wait() != 0:
            sys.exit(f"the undisturbed sweep failed: {(calm / 'sweep.log').read_text()}")
        expected = metrics(calm)
        print(f"undisturbed: {len(expected)} runs in {time.monotonic() - begin:.0f} s")
        disturbed(killed, size, arguments.kills, random.Random(arguments.draw))
        status = start(killed, size).wait()
        same = metrics(killed) == expected
        resumed = sum(log.read_text().count("going on from") for log in killed.rglob("job.log"))
        print(f"resumed: status {status}, {resumed} times from a checkpoint, equal metrics: {same}")
    sys.exit(0 if same and status == 0 else 1)


if __name__ == "__main__":
    main()

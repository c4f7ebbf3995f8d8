"""ttl_lightning beside fastai, timm, MONAI and plain PyTorch: the same work, by turns.

    python benchmarks/peers/run.py --data FOLDER --env build/peers           # everything
    python benchmarks/peers/run.py --data FOLDER --env build/peers --sweep   # the launchers alone
    python benchmarks/peers/run.py --smoke              # drawn images, and who is installed

FOLDER holds `xray/labels.csv` (path, label, patient_id) and `pneumoniamnist.npz`. The environment
is built where there is none: this package, editable, with its extra `peers`. Every
measurement is a process of its own, and the peers take turns, so that what else the machine does
hits all. Each peer is run with its loaders in the main process and in worker processes, and shown
with what was faster for it; all have the same threads, batches, network, weights and rate.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # the other benchmarks

import data as studies  # noqa: E402
import sweep  # noqa: E402
from training_loop import Row, machine, table  # noqa: E402
from work import SPAWNED, Work  # noqa: E402

ROOT = HERE.parents[1]
OTHERS = {"plain": "plain.py", "timm": "with_timm.py", "MONAI": "with_monai.py"}
LAST = {"fastai": "with_fastai.py"}
AIM = 0.95


class Side(NamedTuple):
    """One contestant.

    script: beside this file.
    precision: as of `Work`.
    strategy: overrides of ours.
    """

    script: str
    precision: str = "float32"
    strategy: str = "strategy=ftl"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="the folder of the images")
    parser.add_argument("--env", type=Path, help="the peers' environment; by default this one")
    parser.add_argument("--rounds", type=int, default=3, help="turns of everybody")
    parser.add_argument("--pixels", type=int, nargs="+", default=[224, 64])
    parser.add_argument("--images", type=int, default=256, help="of an epoch of training")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sweep", action="store_true", help="the launchers alone")
    parser.add_argument("--smoke", action="store_true", help="whether it runs")
    options = parser.parse_args()
    python = environment(options.env) if options.env else Path(sys.executable)
    print(", ".join(f"{key}: {value}" for key, value in machine().items()), flush=True)
    if not options.sweep:
        with tempfile.TemporaryDirectory() as folder:
            for title, work in works(options, Path(folder)):
                print(f"\n### {title}\n", flush=True)
                print(table(compare(work, contestants(python), options, python)), flush=True)
    jobs = 2 if options.smoke else sweep.JOBS
    print(f"\n### a sweep of {jobs} short runs\n\n{table(sweep.launchers(python, jobs))}")


def works(options: argparse.Namespace, folder: Path) -> list[tuple[str, Work]]:
    """What is to be done, with its title."""
    if options.smoke:
        made = studies.drawn(folder / "drawn")
        return [("smoke", Work(str(made), "test_resnet", None, *studies.plain(), 32, 8, 1, 0))]
    found = []
    for pixels in options.pixels:
        if pixels > 64:
            name, made = "X-rays", studies.xray(options.data / "xray", folder, options.images)
        else:
            source = options.data / "pneumoniamnist.npz"
            name, made = "PneumoniaMNIST", studies.mnist(source, folder, 4 * options.images)
        weights = studies.weights(folder)
        batch = 32 if pixels > 64 else 64
        epochs, network = options.epochs, studies.NETWORK
        work = Work(str(made), network, *weights, pixels, batch, epochs, workers=0)
        found.append((f"{name}, {pixels} pixels, {network}", work))
    return found


def contestants(python: Path) -> dict[str, Side]:
    """Everybody; fastai where it is."""
    has = subprocess.run([python, "-c", "import fastai"], capture_output=True, check=False)
    scripts = OTHERS | (LAST if has.returncode == 0 else {})
    ours = {
        "ttl_lightning": Side("with_ours.py"),
        "ttl_lightning, precision=auto": Side("with_ours.py", "auto"),
        "ttl_lightning, cut at block3": Side("with_ours.py", strategy="strategy=ttl cutoff=block3"),
    }
    return {**{name: Side(script) for name, script in scripts.items()}, **ours}


def compare(
    work: Work, sides: dict[str, Side], options: argparse.Namespace, python: Path
) -> list[Row]:
    """A row for each side, of the medians over the rounds."""
    found: dict[str, dict[int, list[Row]]] = {name: {} for name in sides}
    failed: dict[str, str] = {}
    workers = (0,) if options.smoke else (0, os.cpu_count() or 1)
    for turn in range(1 if options.smoke else options.rounds):
        for name, side in sides.items():
            known = found[name]
            if name in failed:
                continue
            tried = workers if turn == 0 else (max(known, key=lambda count: speed(known[count])),)
            for count in tried:
                each = dataclasses.replace(work, workers=count, precision=side.precision)
                try:
                    known.setdefault(count, []).append(run(python, side, each))
                except RuntimeError as error:
                    failed[name] = str(error)
                    print(f"{name}: {error}", file=sys.stderr)
                    break
    best = {
        name: max(by_count.items(), key=lambda item: speed(item[1]))
        for name, by_count in found.items()
        if name not in failed
    }
    base = {name: runs for name, (_, runs) in best.items()}
    return [row(name, count, runs, base["plain"]) for name, (count, runs) in best.items()]


def row(name: str, workers: int, runs: Sequence[Row], plain: Sequence[Row]) -> Row:
    """Medians over the rounds; ratios to plain PyTorch's of the same round."""
    reached = [next((s for s, a in zip(r["at_s"], r["auroc"], strict=True) if a >= AIM), None)
               for r in runs]  # fmt: skip
    times = sorted(seconds for seconds in reached if seconds is not None)
    return {
        "": name,
        "workers": workers,
        "training images/s": spread([train_speed(r) for r in runs]),
        "ratio": ratio(runs, plain, train_speed),
        "validation images/s": spread([val_speed(r) for r in runs]),
        "ratio ": ratio(runs, plain, val_speed),
        "first batch s": spread([r["first_batch_s"] for r in runs]),
        f"AUROC {AIM} s": f"{median(times):.0f}" if 2 * len(times) > len(runs) else "–",
        "peak MB": f"{median(r['peak_mb'] for r in runs):.0f}",
        "chosen": " ".join(f"{k}={v}" for k, v in runs[0]["settings"].items()),
    }


def train_speed(run: Row) -> float:
    """Of the epochs after the first, in which caches fill."""
    return float(median(run["train"][1:] or run["train"]))


def val_speed(run: Row) -> float:
    """Likewise."""
    return float(median(run["val"][1:] or run["val"]))


def speed(runs: Sequence[Row]) -> float:
    """The median training speed."""
    return median(train_speed(each) for each in runs)


def ratio(runs: Sequence[Row], plain: Sequence[Row], of: Any) -> str:  # noqa: ANN401
    """Median over the rounds that both had."""
    return f"{median(of(a) / of(b) for a, b in zip(runs, plain, strict=False)):.2f}"


def spread(values: Sequence[float]) -> str:
    """The median and the range."""
    low, middle, high = min(values), median(values), max(values)
    digits = 0 if middle >= 100 else 1
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def run(python: Path, side: Side, work: Work) -> Row:
    """One process's line, and the peak of the memory that it and its workers shared out."""
    environ = {
        **os.environ, SPAWNED: str(time.time()), "PEER_STRATEGY": side.strategy,
        "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    given = json.dumps(dataclasses.asdict(work))
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [python, HERE / side.script, given], env=environ, stdout=out, stderr=err, cwd=HERE
        )
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.25)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise RuntimeError(f"{side.script} failed:\n{err.read()[-2000:]}")
        line = out.read().splitlines()[-1]
        print(f"{side.script}, {work.workers} workers: {line}", file=sys.stderr, flush=True)
        return {**json.loads(line), "peak_mb": peak}


def memory(pid: int) -> float:
    """What a process and its children take, in MB; what they share is counted once."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_full_info().pss
    except psutil.Error:
        pass
    return total / 1e6


def environment(folder: Path) -> Path:
    """The interpreter of the peers' environment, which is built where there is none."""
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "-q", "-e", f"{ROOT}[peers]"]
        subprocess.run(install, check=True)
    return python


if __name__ == "__main__":
    main()

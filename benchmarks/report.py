"""How long a sweep's report takes: `python benchmarks/report.py --runs 1000`."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import collect
from ttl_lightning.report.sweep import write

IMAGES, SEEDS = 600, 5


def draw(folder: Path, runs: int) -> None:
    """Completed runs of four strategies, as many cutoffs as needed, five seeds each."""
    rng = np.random.default_rng(0)
    truth = rng.random(IMAGES) < 0.5
    for number in range(runs):
        method, seed = divmod(number, SEEDS)
        strategy = ("ftl", "lwft", "tf", "ttl")[method % 4] if method else "ftl"
        cutoff = None if strategy == "ftl" else f"block{method + 1}.1"
        run = folder / strategy / str(cutoff) / f"seed{number}"
        run.mkdir(parents=True)
        score = 1 / (1 + np.exp(-(truth + rng.normal(size=IMAGES))))
        lines = [
            f"test/{k},test,{('no', 'yes')[int(t)]},{1 - s:.9g},{s:.9g}"
            for k, (t, s) in enumerate(zip(truth, score, strict=True))
        ]
        header = "id,split,label,probability/no,probability/yes"
        (run / "predictions.csv").write_text("\n".join([header, *lines]) + "\n")
        RunResult(
            "n", "drawn", "net", strategy, cutoff, method or None, seed, status="completed",
            metrics={f"{split}/{m}": float(rng.random()) for split in ("val", "test")
                     for m in ("auroc", "auprc")},
            complexity={"params": 10**4 * (method + 1), "macs": 10**6 * (method + 1),
                        "latency_ms": {"cpu": {"median": 1.0 + method,
                                               "ratio": (1 + method) / 50}}},
            model={"task": "binary", "class_names": ["no", "yes"]},
        ).save(run)  # fmt: skip


def main() -> None:
    """Time reading the runs, and the whole report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--smoke", action="store_true", help="of 40 runs: whether it runs")
    options = parser.parse_args()
    runs = 40 if options.smoke else options.runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, runs)
        start = time.perf_counter()
        found = len(collect(folder).runs)
        middle = time.perf_counter()
        write(folder)
        end = time.perf_counter()
    print(f"{found} runs: {middle - start:.2f} s to collect, {end - middle:.2f} s to report")


if __name__ == "__main__":
    main()

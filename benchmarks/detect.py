"""Which cutoff the paper's rule gives at each threshold, beside sweeps that trained every cutoff.

    python -m ttl_lightning -m hydra/sweeper=exhaustive strategy=ttl seed=0,1,2 name=all data=…
    python -m ttl_lightning -m hydra/sweeper=detect strategy=ttl seed=0,1,2 name=full data=…
    python benchmarks/detect.py --sweeps multirun/all multirun/full …

The second sweep's full finetunings are read, of each what `analyze detect` found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from search import tables
from smoke import every_cutoff, small_sweep

from ttl_lightning.interpret.detection import CHANCE, Reuse, detect, excess
from ttl_lightning.jobs.reuse import mean_of
from ttl_lightning.report.collect import collect

METRIC = "val/auprc"
THRESHOLDS = (0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)


def measured(root: Path) -> list[dict[str, Reuse]]:
    """Of every full finetuning the mean similarity of each unit, and that of random features."""
    found = []
    for run in collect(root).having("completed"):
        if run.result.strategy == "ftl":
            content = json.loads((root / run.folder / "analysis" / "detect.json").read_text())
            rows = content["rows"]
            found.append({row["unit"]: Reuse(row["mean"], row["random_mean"]) for row in rows})
    return found


def report(every: Path, full: Path) -> None:
    """Print the excess of each unit, and what each threshold chooses."""
    ((key, table, _),) = tables(every, METRIC)
    finals = {name: fmean(entry.after(None)) for name, entry in table.items()}
    top = max(finals.values())
    runs = measured(full)
    curve = {unit: reuse for unit, reuse in mean_of(runs).items() if unit in table}
    judged = {u: f"{excess(r):.2f}" for u, r in curve.items() if (r.random_mean or 0) <= CHANCE}
    print(f"\n{' · '.join(key)} ({full}): {len(runs)} full finetunings\n")
    print("excess:", ", ".join(f"{unit} {value}" for unit, value in judged.items()))
    print(f"not judged: {', '.join(unit for unit in curve if unit not in judged) or 'none'}\n")
    print("| threshold | choice | regret | choices of each seed alone |")
    print("|---|---|---|---|")
    for threshold in THRESHOLDS:
        choice = detect(curve, threshold, candidates=table).unit
        alone = ", ".join(detect(run, threshold, candidates=table).unit for run in runs)
        print(f"| {threshold} | {choice} | {top - finals[choice]:.4f} | {alone} |")


def main() -> None:
    """Print the tables of every pair of sweeps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--sweeps", type=Path, nargs=2, action="append", default=[], metavar=("EVERY", "FULL")
    )
    parser.add_argument("--smoke", action="store_true", help="on runs of a tiny network")
    options = parser.parse_args()
    for every, full in options.sweeps:
        report(every, full)
    if options.smoke:
        with small_sweep(*every_cutoff()) as every, small_sweep(["strategy=ftl"]) as full:
            analyze = (
                sys.executable,
                "-m",
                "ttl_lightning.analyze",
                "detect",
                f"run={full / '0'}",
            )
            subprocess.run(analyze, check=True)
            report(every, full)


if __name__ == "__main__":
    main()

"""All strategies and cutoffs on PneumoniaMNIST: the README's table and figure.

    python benchmarks/pneumoniamnist.py FILE.npz --seeds 3

Runs that are completed already are not run again.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import ttl_lightning as ttl
from ttl_lightning.report.cutoffs import cutoff_figure
from ttl_lightning.results import RunResult, write_atomically

JOBS: list[tuple[str, str | None]] = [
    ("ttl", "block3"), ("ftl", None), ("tf", "block3"), ("lwft", "block3"),
    ("ttl", "block2"), ("ttl", "block4"), ("ttl", "block1"), ("ttl", "block5"), ("ttl", "block6"),
    ("ttl", "block7"), ("ffe", None),
]  # fmt: skip
COLUMNS = "| strategy | cutoff | test AUROC | test AUPRC | parameters | trained | MACs |"


def main() -> None:
    """Run what is missing; print the table; draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("outputs/pneumoniamnist"))
    arguments = parser.parse_args()
    results: list[RunResult] = []
    for seed in range(arguments.seeds):
        for strategy, cutoff in JOBS:
            overrides = [
                "data=npz",
                f"data.path={arguments.data}",
                f"strategy={strategy}",
                f"seed={seed}",
            ]
            overrides += [f"cutoff={cutoff}"] if cutoff else []
            folder = arguments.out / f"{strategy}-{cutoff or 'full'}-seed{seed}"
            results.append(ttl.train(overrides=overrides, run_dir=folder))
    print(table(results))
    figure = cutoff_figure(results)
    target = arguments.out / "cutoffs.png"
    figure.savefig(target, dpi=120)
    write_atomically(arguments.out / "table.md", table(results).encode())
    print(f"figure: {target}")


def table(results: list[RunResult]) -> str:
    """A Markdown row a setting: mean ± sample standard deviation over seeds."""
    lines = [COLUMNS, "|---" * (COLUMNS.count("|") - 1) + "|"]
    for strategy, cutoff in JOBS:
        runs = [
            r
            for r in results
            if r.strategy == strategy and (r.cutoff or "").startswith(cutoff or "")
        ]
        cost = runs[0].complexity
        cells = [strategy, cutoff or "–", _spread(runs, "test/auroc"), _spread(runs, "test/auprc")]
        cells += [f"{cost[key] / 1e6:.3f} M" for key in ("params", "trainable_params")]
        cells.append(f"{cost['macs'] / 1e6:.1f} M")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(runs: list[RunResult], metric: str) -> str:
    values = [value for run in runs if (value := run.metrics[metric]) is not None]
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


if __name__ == "__main__":
    main()

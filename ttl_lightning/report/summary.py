"""`summary.csv`: one row a run, whatever came of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ttl_lightning.report.collect import Run
from ttl_lightning.report.methods import COSTS, run_cost

FILE_NAME = "summary.csv"
FIELDS = ("data", "backbone", "strategy", "cutoff", "cutoff_index", "seed")
TRAIN = ("epochs", "best_epoch", "wall_s")


def summary_csv(runs: Sequence[Run]) -> str:
    """Every run's settings, metrics, costs and times; what is unknown is an empty cell.

    Columns: folder, status, error, `FIELDS`, overrides (separated by blanks), every metric that any
    run has, `COSTS` (as of `run_cost`), `TRAIN`.
    """
    metrics = sorted({str(key) for run in runs for key in run.result.metrics})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["folder", "status", "error", *FIELDS, "overrides", *metrics, *COSTS, *TRAIN])
    for run in runs:
        result = run.result
        row: list[object] = [run.folder, result.status, result.error]
        row += [getattr(result, name) for name in FIELDS]
        row.append(" ".join(map(str, result.overrides)))
        row += [result.metrics.get(key) for key in metrics]
        row += [
            run_cost(result, key) if key.startswith("latency") else result.complexity.get(key)
            for key in COSTS
        ]
        row += [result.train.get(key) for key in TRAIN]
        writer.writerow(row)
    return text.getvalue()

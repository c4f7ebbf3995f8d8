"""`summary.csv`: one row a run, whatever came of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ttl_lightning.report.collect import Run
from ttl_lightning.report.methods import COSTS, run_cost
from ttl_lightning.report.text import cell

FIELDS = ("data", "backbone", "strategy", "cutoff", "cutoff_index", "seed")
TRAIN = ("epochs", "best_epoch", "wall_s")


def summary_csv(runs: Sequence[Run]) -> str:
    """Every run's settings, metrics, costs and times; what is unknown is an empty cell.

    Columns: folder, status, error, `FIELDS`, overrides (separated by blanks), every metric that any
    run has, `COSTS` (as of `run_cost`), `TRAIN`. A text that a spreadsheet would take for a formula
    begins with an apostrophe.
    """
    metrics = sorted({str(key) for run in runs for key in run.result.metrics})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    header = ["folder", "status", "error", *FIELDS, "overrides", *metrics, *COSTS, *TRAIN]
    writer.writerow(map(cell, header))
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
        writer.writerow(map(cell, row))
    return text.getvalue()

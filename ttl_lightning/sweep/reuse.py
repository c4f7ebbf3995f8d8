"""What full finetunings say of each unit's features, by an analysis in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from ttl_lightning.analysis.detection import Detection, Reuse, detect
from ttl_lightning.errors import DataError

Means = tuple[float | None, float | None]


def measured(run: Path, split: str) -> dict[str, Means]:
    """Mean similarity of each unit before and after a run's training, and of random features.

    Args:
        run: the folder of a completed full finetuning.
        split: whose images are used.

    Raises:
        DataError: if the analysis failed, in its own words.
    """
    # a process of its own, as jobs are: what it takes on a GPU is free when it ends
    command = [sys.executable, "-m", "ttl_lightning.analyze", "detect", f"run={run}"]
    done = subprocess.run([*command, f"split={split}"], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise DataError(f"{run} could not be analysed: {lines[-1].removeprefix('error: ')}")
    content = json.loads((run / "analysis" / "detect.json").read_text(encoding="utf-8"))
    return {row["unit"]: (row["mean"], row["random_mean"]) for row in content["rows"]}


def mean_of(tables: Iterable[dict[str, Means]]) -> dict[str, Means]:
    """Means over runs; None for a unit that is None in any of them."""
    rows = list(tables)
    return {
        unit: (mean([row[unit][0] for row in rows]), mean([row[unit][1] for row in rows]))
        for unit in rows[0]
    }


def pointed_at(means: dict[str, Means], threshold: float, candidates: Sequence[str]) -> Detection:
    """The paper's rule, among these cutoffs.

    Raises:
        ConfigError: if the threshold is not from 0 to 1.
        DataError: if no candidate can be judged.
    """
    reuse = {unit: Reuse(*pair) for unit, pair in means.items()}
    return detect(reuse, threshold, candidates=candidates)


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, None if any of them is."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None

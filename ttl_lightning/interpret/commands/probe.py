"""What a linear classifier reads from each unit's features, before training and after it."""

from __future__ import annotations

from typing import Any

from ttl_lightning.interpret.commands.figures import curves
from ttl_lightning.interpret.commands.findings import Findings
from ttl_lightning.interpret.commands.options import Probe as Options
from ttl_lightning.runs.open import OpenRun
from ttl_lightning.tasks.losses import kind_of
from ttl_lightning.tasks.probes import CHOSEN_BY, LABELS, METRICS, ProbeResult, probe_units

SPLITS = ("train", "val", "test")


def probe_run(run: OpenRun, options: Options) -> dict[str, dict[str, ProbeResult]]:
    """Fit and score a linear classifier on every unit's pooled features.

    Each model sees each split once, not augmented. Samples are images, of volumes windows.

    Returns:
        By unit, of the model `before` training and of that `after` it.

    Raises:
        TTLError: if the task has no classes, `most` is out of range, or a split lacks what a
            probe needs.
    """
    run.task.check_probed()
    found = {}
    for when, model in (("before", run.before), ("after", run.after)):
        splits = {split: run.batches(split, options.most) for split in SPLITS}
        found[when] = probe_units(model.backbone, splits, kind_of(run.data))
    return {
        unit: {when: units[unit] for when, units in found.items()}
        for unit in run.after.backbone.cutoffs
    }


def report(run: OpenRun, options: Options) -> Findings:
    """Table and figure of `probe_run`."""
    found = probe_run(run, options)
    rows = [_row(unit, results) for unit, results in found.items()]
    figures = {
        metric: curves(
            list(found),
            _lines(rows, "val", "validation", metric),
            f"{LABELS[metric]} of linear probes",
            dashed=_lines(rows, "test", "test", metric),
        )
        for metric in METRICS
    }
    for figure in figures.values():
        figure.suptitle(run.title)
    score = f"before_val_{CHOSEN_BY}"
    best = max((r for r in rows if r[score] is not None), key=lambda r: r[score], default=None)
    headline = "no unit could be probed."
    if best:
        headline = (
            f"before training, a linear classifier reads most from {best['unit']}: validation "
            f"{LABELS[CHOSEN_BY]} {best[score]:.3f}."
        )
    return Findings(headline, rows, {}, figures)


def _lines(
    rows: list[dict[str, Any]], split: str, name: str, metric: str
) -> dict[str, list[float | None]]:
    return {
        f"{when} training, {name}": [row[f"{when}_{split}_{metric}"] for row in rows]
        for when in ("before", "after")
    }


def _row(unit: str, results: dict[str, ProbeResult]) -> dict[str, Any]:
    row: dict[str, Any] = {"unit": unit}
    for when, result in results.items():
        row |= {
            f"{when}_{split}_{metric}": result.metrics[f"{split}/{metric}"]
            for split in ("val", "test")
            for metric in METRICS
        }
        row[f"{when}_penalty"] = result.penalty
        row[f"{when}_notes"] = "; ".join(f"{key}: {note}" for key, note in result.notes.items())
    return row

"""A finished run's numbers as rows of text: the same in the terminal and on its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttl_lightning.records.schema import RunResult
from ttl_lightning.tasks.registry import report_of

Rows = list[tuple[str, ...]]


def title(result: RunResult) -> str:
    """Data, network, strategy, cutoff, seed and fold."""
    at = f" cutoff={result.cutoff} ({result.cutoff_index})" if result.cutoff else ""
    fold = "" if result.fold is None else f" · fold {result.fold}"
    where = f"{result.data} · {result.backbone} · {result.strategy}"
    return f"{where}{at} · seed {result.seed}{fold}"


def metric_rows(result: RunResult) -> Rows:
    """Metric, validation, test and interval."""
    rows = []
    for key in report_of(result).shown:
        span = result.intervals.get(f"test/{key}")
        values = (_number(result.metrics.get(f"{split}/{key}")) for split in ("val", "test"))
        rows.append((key, *values, f"{span[0]:.3f} – {span[1]:.3f}" if span else ""))
    return rows


def decision_rows(result: RunResult) -> tuple[str, Rows]:
    """What is decided how, and each metric, validation and test; no rows where nothing is."""
    operating = result.operating
    if not operating:
        return "", []
    at = operating["thresholds"].values()
    where = f"{next(iter(at)):.3f}" if len(at) == 1 else "each label's own"
    rows = [
        (key, *(_number(operating[split].get(key)) for split in ("val", "test")))
        for key in operating["val"]
    ]
    return f"above {where} ({operating['rule']})", rows


def calibration_rows(result: RunResult) -> Rows:
    """The calibration error after temperature scaling, validation and test."""
    calibration = result.calibration
    if not calibration:
        return []
    name = f"ece, temperature {calibration['temperature']:.2f}"
    scaled = (calibration.get(split, {}).get("ece_scaled") for split in ("val", "test"))
    return [(name, *map(_number, scaled))]


def cost_rows(result: RunResult) -> tuple[tuple[str, str, str], Rows]:
    """Headings and rows: this model, the untruncated one where it is another, and the ratio."""
    whole = result.complexity["untruncated"]
    headings = ("this model", "untruncated", "ratio") if whole else ("this model", "", "")
    theirs = _costs(whole) if whole else {}
    rows: Rows = []
    for label, (ours, form) in _costs(result.complexity).items():
        if label in theirs:
            other = theirs[label][0]
            rows.append((label, form.format(ours), form.format(other), f"{ours / other:.3f}"))
        else:
            rows.append((label, form.format(ours), "", ""))
    return headings, rows


def _costs(cost: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """Each cost by its name, with the form it is printed in."""
    table = {
        "parameters": (cost["params"] / 1e6, "{:.3f} M"),
        "trained": (cost["trainable_params"] / 1e6, "{:.3f} M"),
        "MACs": (cost["macs"] / 1e9, "{:.4f} G"),
    }
    return table | {
        f"latency, {device}": (time["min"], "{:.2f} ms")
        for device, time in cost["latency_ms"].items()
        if time is not None
    }


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"

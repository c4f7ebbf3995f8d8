"""What a finished run leaves in its folder, and the table that a person sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from ttl_lightning.data.module import DataModule
from ttl_lightning.metrics.predictions import PATIENT, as_csv
from ttl_lightning.records.files import write_atomically
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.records.stem import stem_note
from ttl_lightning.runs.evaluate import of_samples
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.curves import png, training_curves
from ttl_lightning.tasks.registry import report_of
from ttl_lightning.tasks.reports import Described, Table, TaskReport


def write(
    folder: Path,
    task: Task,
    data: DataModule,
    history: Sequence[Mapping[str, object]],
    result: RunResult,
) -> None:
    """Write `predictions.csv`, the task's figures and `curves.png`.

    Args:
        folder: the run's folder.
        task: holds the predictions by split.
        data: the run's.
        history: one row an epoch.
        result: the run's result.
    """
    report, predictions = task.report, task.predictions
    content = predictions_csv(report, predictions, data, result.model)
    write_atomically(RunFolder(folder).predictions, content.encode())
    best = result.train.get("best_epoch")
    curves = {"curves": training_curves(history, report.drawn, best)}
    figures = {**report.figures(predictions, result.model), **curves}
    for name, figure in figures.items():
        write_atomically(RunFolder(folder).figure(name), png(figure))


def predictions_csv(
    report: TaskReport,
    predictions: Mapping[str, Table],
    data: DataModule,
    described: Described,
) -> str:
    """Columns: id, split, the patient where one is known, and those of the task."""
    splits = {}
    for split, table in predictions.items():
        known = {"id": data.sample_ids(split), PATIENT: data.patients(split)}
        named = {key: of_samples(names, table) for key, names in known.items() if names is not None}
        splits[split] = {**named, **report.columns(table, described)}
    return as_csv(splits)


def show(folder: Path, result: RunResult, console: Console | None = None) -> None:
    """Print one table: metrics, the cost beside the untruncated network's, where the files are."""
    at = f" cutoff={result.cutoff} ({result.cutoff_index})" if result.cutoff else ""
    title = f"{result.data} · {result.backbone} · {result.strategy}{at} · seed {result.seed}"
    table = RichTable()
    for column, side in (
        ("", "left"),
        ("validation", "right"),
        ("test", "right"),
        ("95 % interval", "right"),
    ):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for key in report_of(result).shown:
        span = result.intervals.get(f"test/{key}")
        values = (_number(result.metrics.get(f"{split}/{key}")) for split in ("val", "test"))
        table.add_row(key, *values, f"{span[0]:.3f} – {span[1]:.3f}" if span else "")
    whole = result.complexity["untruncated"]
    table.add_section()
    headings = ("this model", "untruncated", "ratio") if whole else ("this model", "", "")
    table.add_row("", *(f"[bold]{heading}[/]" for heading in headings))
    theirs = _costs(whole) if whole else {}
    for label, (ours, form) in _costs(result.complexity).items():
        if label in theirs:
            other = theirs[label][0]
            table.add_row(label, form.format(ours), form.format(other), f"{ours / other:.3f}")
        else:
            table.add_row(label, form.format(ours))
    console = console or Console(width=max(80, Console().width))
    console.print(title, style="bold", highlight=False)
    console.print(table)
    if note := stem_note(result.complexity):
        console.print(note[0].upper() + note[1:], soft_wrap=True, highlight=False)
    for key, note in result.notes.items():
        if key.startswith("complexity/latency_ms/"):
            where = key.rpartition("/")[2]
            console.print(f"No latency, {where}: {note}.", soft_wrap=True, highlight=False)
    console.print(
        f"{result.train['wall_s']:.1f} s; results in {folder}", soft_wrap=True, highlight=False
    )


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

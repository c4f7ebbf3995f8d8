"""What a finished run leaves in its folder, and the table that a person sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from ttl_lightning.data.module import DataModule
from ttl_lightning.metrics.predictions import PATIENT, as_csv
from ttl_lightning.records.files import write_atomically
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.records.stem import stem_note
from ttl_lightning.runs.evaluate import of_samples
from ttl_lightning.runs.page import run_page
from ttl_lightning.runs.summary import (
    calibration_rows,
    cost_rows,
    decision_rows,
    metric_rows,
    title,
)
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.curves import training_curves
from ttl_lightning.tasks.pictures import KINDS
from ttl_lightning.tasks.pictures import content as picture
from ttl_lightning.tasks.reports import Described, Outcome, Table, TaskReport

# Above so many bytes a figure is on the page as PNG.
LARGE_SVG = 300_000


def write(
    folder: Path,
    task: Task,
    data: DataModule,
    history: Sequence[Mapping[str, object]],
    result: RunResult,
    kinds: Sequence[str] = KINDS,
) -> None:
    """Write `predictions.csv`, the task's figures and pictures, `curves`, and `run.html`.

    Args:
        folder: the run's folder.
        task: holds the predictions by split.
        data: the run's.
        history: one row an epoch.
        result: the run's result.
        kinds: of files that each figure is written as.
    """
    report, predictions, there = task.report, task.predictions, RunFolder(folder)
    content = predictions_csv(report, predictions, data, result.model)
    write_atomically(there.predictions, content.encode())
    best = result.train.get("best_epoch")
    patients = {
        split: of_samples(names, table)
        for split, table in predictions.items()
        if (names := data.patients(split)) is not None
    }
    figures = report.figures(
        Outcome(
            splits=predictions,
            described=result.model,
            operating=result.operating,
            calibration=result.calibration,
            patients=patients,
        )
    )
    shown = {}
    stacked = training_curves(history, report.drawn, best, columns=1)
    drawn = {"curves": training_curves(history, report.drawn, best), **figures}
    shown["curves"] = picture(stacked, "svg")
    for name, figure in drawn.items():
        made = {kind: picture(figure, kind) for kind in dict.fromkeys((*kinds, "svg"))}
        for kind in kinds:
            write_atomically(there.figure(name, kind), made[kind])
        large = len(made["svg"]) > LARGE_SVG
        shown.setdefault(name, picture(figure, "png") if large else made["svg"])
    for name, extra in task.extras(data):
        write_atomically(there.extra(name), extra)
    write_atomically(there.page, run_page(folder, result, shown).encode("utf-8", "replace"))


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
    table = RichTable()
    for column, side in (
        ("", "left"),
        ("validation", "right"),
        ("test", "right"),
        ("95 % interval", "right"),
    ):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for row in metric_rows(result):
        table.add_row(*row)
    how, decisions = decision_rows(result)
    for heading, rows in ((f"[bold]{how}[/]", decisions), ("", calibration_rows(result))):
        if rows:
            table.add_section()
        if rows and heading:
            table.add_row(heading)
        for row in rows:
            table.add_row(*row)
    table.add_section()
    headings, costs = cost_rows(result)
    table.add_row("", *(f"[bold]{heading}[/]" for heading in headings))
    for row in costs:
        table.add_row(*row)
    console = console or Console(width=max(80, Console().width))
    console.print(title(result), style="bold", highlight=False)
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

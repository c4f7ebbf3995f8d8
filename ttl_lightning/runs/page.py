"""`run.html`: one file with all that is known of a finished run, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ttl_lightning.errors import one_line
from ttl_lightning.pages.render import address, render, stored
from ttl_lightning.pages.table import Cell, Table
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.records.stem import stem_note
from ttl_lightning.runs.summary import (
    Rows,
    calibration_rows,
    cost_rows,
    decision_rows,
    metric_rows,
    title,
)
from ttl_lightning.tasks.registry import report_of

CAPTIONS = {
    "curves": "losses, validation metrics and learning rates over the epochs",
    "roc": "ROC curves, the test split's with the 95 % band of other samples; dots are the "
    "operating point",
    "pr": "precision-recall curves, likewise",
    "confusion": "what the test samples are and what they are taken for",
    "reliability": "how often what a probability speaks of comes true in the test split, and how "
    "many samples have such a probability",
    "scatter": "predicted numbers over the true ones",
}


def run_page(folder: Path, result: RunResult, figures: Mapping[str, bytes]) -> str:
    """The page's text.

    Args:
        folder: the run's; the pictures that its task names are taken from it.
        result: completed.
        figures: SVG, or PNG of those that would be large, by name.
    """
    there = folder.resolve()
    shown = there.relative_to(Path.cwd()) if there.is_relative_to(Path.cwd()) else there
    notes = [f"{key}: {note}" for key, note in result.notes.items()]
    if stem := stem_note(result.complexity):
        notes.insert(0, stem)
    if result.bad_images:
        notes.append(f"{len(result.bad_images)} images could not be read and were left out.")
    return render(
        "run.html.j2",
        title=title(result),
        lead=_lead(result),
        tables=_tables(result),
        figures=[(_address(content), CAPTIONS.get(n, n)) for n, content in figures.items()],
        pictures=[
            (picture, caption)
            for name, caption in report_of(result).pictures.items()
            if (picture := stored(RunFolder(folder).path / name))
        ],
        notes=[one_line(note) for note in notes],
        command=" ".join(["ttl-lightning", *map(str, result.overrides)]),
        versions=result.versions,
        path=repr(shown.as_posix()),
        folder=shown.as_posix(),
    )


def _lead(result: RunResult) -> str:
    train = result.train
    parts = [f"{train.get('epochs')} epochs"]
    if train.get("best_epoch") is not None:
        parts.append(f"the best one {train['best_epoch']}")
    if train.get("wall_s") is not None:
        parts.append(f"{train['wall_s']:.0f} s in all")
    weights = dict((result.weights or {}).get("record") or {})
    source = weights.get("source")
    parts.append(f"weights of {source}" if source else "trained from random weights")
    return ", ".join(parts) + "."


def _tables(result: RunResult) -> list[tuple[str, Table]]:
    metrics = [*metric_rows(result), *((*row, "") for row in calibration_rows(result))]
    found = [("Scores", _table(("metric", "validation", "test", "95 % interval"), metrics))]
    how, rows = decision_rows(result)
    if rows:
        found.append((f"Decisions {how}", _table(("metric", "validation", "test"), rows)))
    headings, costs = cost_rows(result)
    width = 4 if headings[1] else 2
    found.append(("Cost", _table(("", *headings)[:width], [row[:width] for row in costs])))
    return found


def _table(columns: Sequence[str], rows: Rows) -> Table:
    return Table(tuple(columns), [[Cell(text) for text in row] for row in rows], names=1)


def _address(content: bytes) -> str:
    return address("png" if content.startswith(b"\x89PNG") else "svg+xml", content)

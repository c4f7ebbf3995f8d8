"""The report of a sweep: everything in its folder read, its tables, figures and page written."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from ttl_lightning.records.files import write_atomically
from ttl_lightning.records.folder import SweepFolder
from ttl_lightning.report.choice import best_at_cutoffs, choose
from ttl_lightning.report.collect import STATUSES, Sweep, collect
from ttl_lightning.report.cutoffs import choice_figure, tradeoff_figure
from ttl_lightning.report.headline import headline
from ttl_lightning.report.methods import Group, group
from ttl_lightning.report.page import Section, page
from ttl_lightning.report.rows import compare
from ttl_lightning.report.summary import summary_csv
from ttl_lightning.report.tables import Table, full_table, main_table

DPI = 150


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sweep came to.

    Attributes:
        completed: how many runs; likewise `failed`, `interrupted`, `running` (or cut off) and
            `paused` (stopped early by a search).
        unreadable: how many files could not be read.
        causes: of every failed run its folder and cause.
        headlines: for each data set and backbone which model to take.
        tables: for each data set and backbone its title and table.
        page: where the report is.
    """

    completed: int
    failed: int
    interrupted: int
    running: int
    paused: int
    unreadable: int
    causes: list[str]
    headlines: list[str]
    tables: list[tuple[str, Table]]
    page: Path


def write(folder: Path) -> Summary:
    """Write `summary.csv`, `table.md`, `table.tex`, the figures and `report.html` into a sweep.

    Raises:
        DataError: if there is no folder, or no run in it; nothing is written then.
    """
    sweep, there = collect(folder), SweepFolder(folder)
    files = {there.summary: summary_csv(sweep.runs).encode("utf-8", "replace")}
    sections: list[Section] = []
    for found in group(sweep.having("completed")):
        section, pictures = _section(sweep, found, len(sections) + 1)
        sections.append(section)
        files |= {there.figure(name): picture for name, picture in pictures.items()}
    tables = [(section.title, section.table) for section in sections]
    files[there.markdown] = _markdown(sections).encode("utf-8", "replace")
    files[there.latex] = _latex(tables).encode("utf-8", "replace")
    files[there.report] = page(sweep, sections).encode("utf-8", "replace")
    for path, content in files.items():
        write_atomically(path, content)
    return Summary(
        **{status: len(sweep.having(status)) for status in STATUSES},
        unreadable=len(sweep.unreadable),
        causes=[f"{run.folder}: {run.cause}" for run in sweep.having("failed")],
        headlines=[section.headline for section in sections],
        tables=tables,
        page=there.report,
    )


def _section(sweep: Sweep, found: Group, number: int) -> tuple[Section, dict[str, bytes]]:
    choices = choose(found, sweep.searches)
    rows = compare(sweep.root, choices)
    chosen = [choice.method for choice in choices]
    shown = best_at_cutoffs(found.methods, chosen)
    drawn = {"cutoffs": choice_figure(shown, chosen), "tradeoff": tradeoff_figure(shown, chosen)}
    suffix = _file_name(f"{found.data}-{found.backbone}", number)
    pictures = {f"{name}-{suffix}": _png(figure) for name, figure in drawn.items()}
    figures = {name: _svg(figure) for name, figure in drawn.items()}
    table, full = main_table(rows, found.report), full_table(found, choices)
    return Section(found, tuple(rows), headline(rows), table, full, figures), pictures


def _file_name(text: str, number: int) -> str:
    """The text's letters and digits, numbered where another section may have the same."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80]
    return kept if kept == text and number == 1 else f"{number}-{kept}"


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()


def _svg(figure: Figure) -> str:
    """The figure as an address that holds all of it; the same figure gives the same text."""
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "ttl_lightning"}):
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.getvalue()).decode()}"


def _markdown(sections: Sequence[Section]) -> str:
    parts = [f"### {section.title}\n\n{section.table.markdown()}\n" for section in sections]
    return "\n".join(parts) or "No run is completed.\n"


def _latex(tables: Sequence[tuple[str, Table]]) -> str:
    parts = [
        f"% needs \\usepackage{{booktabs}}\n% {title}\n{table.latex()}\n" for title, table in tables
    ]
    return "\n".join(parts) or "% No run is completed.\n"

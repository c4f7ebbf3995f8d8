"""The report of a sweep: its folder read, tables, figures and page written, and what is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ttl_lightning.errors import one_line
from ttl_lightning.pages.render import address
from ttl_lightning.pages.table import Table
from ttl_lightning.pages.text import count
from ttl_lightning.records.files import write_atomically
from ttl_lightning.records.folder import SweepFolder
from ttl_lightning.report.collect import STATUSES, Sweep, collect, summary_csv
from ttl_lightning.report.compare import best_at_cutoffs, choose, compare
from ttl_lightning.report.figures import COST_NAMES as COSTS_DRAWN
from ttl_lightning.report.figures import choice_figure, tradeoff_figure
from ttl_lightning.report.folds import as_table, out_of_fold
from ttl_lightning.report.methods import Group, group
from ttl_lightning.report.render import Section, page
from ttl_lightning.report.tables import COST_NAMES, full_table, main_table
from ttl_lightning.report.words import headline
from ttl_lightning.tasks.pictures import content
from ttl_lightning.tasks.pictures import files as figure_files

SHOWN_CAUSES = 20


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
    sections = [_section(sweep, found) for found in group(sweep.having("completed"))]
    files, joined = {}, {}
    for number, section in enumerate(sections, start=1):
        suffix = _file_name(f"{section.group.data}-{section.group.backbone}", number)
        for name, kind, drawn in figure_files(section.figures, dpi=150):
            files[there.figure(f"{name}-{suffix}", kind)] = drawn
        if section.joined:
            joined[there.out_of_fold(suffix)] = as_table(section.joined)
    texts = {there.summary: summary_csv(sweep.runs), there.report: page(sweep, sections)}
    texts |= {there.markdown: _markdown(sections), there.latex: _latex(sections), **joined}
    files |= {path: text.encode("utf-8", "replace") for path, text in texts.items()}
    for path, written in files.items():
        write_atomically(path, written)
    return Summary(
        **{status: len(sweep.having(status)) for status in STATUSES},
        unreadable=len(sweep.unreadable),
        causes=[f"{run.folder}: {run.cause}" for run in sweep.having("failed")],
        headlines=[section.headline for section in sections],
        tables=[(section.title, section.table) for section in sections],
        page=there.report,
    )


def _section(sweep: Sweep, found: Group) -> Section:
    choices = choose(found, sweep.searches)
    rows = compare(sweep.root, choices)
    chosen = [choice.method for choice in choices]
    shown = best_at_cutoffs(found.methods, chosen)
    drawn = {"cutoffs": choice_figure(shown, chosen), "tradeoff": tradeoff_figure(shown, chosen)}
    known = [cost for cost in COSTS_DRAWN if any(m.cost(cost) is not None for m in shown)]
    panels = {
        "cutoffs": [_svg(choice_figure(shown, chosen, [split])) for split in ("val", "test")],
        "tradeoff": [_svg(tradeoff_figure(shown, chosen, [cost])) for cost in known],
    }
    table, full = main_table(rows, found.report), full_table(found, choices)
    joined, problems = out_of_fold(sweep.root, chosen)
    return Section(
        group=found,
        rows=tuple(rows),
        headline=headline(rows),
        table=table,
        full=full,
        figures=drawn,
        panels=panels,
        joined=tuple(joined),
        unjoined=tuple(problems),
    )


def _svg(figure: Figure) -> str:
    return address("svg+xml", content(figure, "svg"))


def _file_name(text: str, number: int) -> str:
    """The text's letters and digits, numbered where another section may have the same."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80]
    return kept if kept == text and number == 1 else f"{number}-{kept}"


def _markdown(sections: Sequence[Section]) -> str:
    parts = [f"### {section.title}\n\n{section.table.markdown()}\n" for section in sections]
    return "\n".join(parts) or "No run is completed.\n"


def _latex(sections: Sequence[Section]) -> str:
    needs = "% needs \\usepackage{booktabs}"
    parts = [f"{needs}\n% {section.title}\n{section.table.latex()}\n" for section in sections]
    return "\n".join(parts) or "% No run is completed.\n"


def show(summary: Summary, console: Console | None = None) -> None:
    """Print the tables, what failed and where the page is."""
    console = console or Console(width=max(100, Console().width))
    for (title, table), said in zip(summary.tables, summary.headlines, strict=True):
        console.print(Text(title, style="bold"))
        console.print(_rich(table))
        console.print(Text(said))
    for cause in summary.causes[:SHOWN_CAUSES]:
        console.print(Text(f"failed: {one_line(cause)}", style="red"), soft_wrap=True)
    if len(summary.causes) > SHOWN_CAUSES:
        console.print(f"… and {len(summary.causes) - SHOWN_CAUSES} more, which the page lists")
    counts = {state: getattr(summary, state) for state in STATUSES}
    told = [f"{n} {state}" for state, n in counts.items() if n or state == "completed"]
    if summary.unreadable:
        told.append(f"{count(summary.unreadable, 'file')} not readable")
    console.print(", ".join(told), highlight=False)
    console.print(Text(f"report: {one_line(summary.page)}"), soft_wrap=True)


def _rich(table: Table) -> RichTable:
    """Up to the last cost, which fits a terminal. The page has the tests."""
    shown = table.columns.index(COST_NAMES[-1]) + 1
    rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, name in enumerate(table.columns[:shown]):
        side: Literal["left", "right"] = "left" if place < table.names else "right"
        head = Text(name.replace(" (", "\n("))
        rich.add_column(head, justify=side, no_wrap=place > 0, overflow="fold")
    for row in table.rows:
        rich.add_row(*(Text(cell.text, style="bold" if cell.bold else "") for cell in row[:shown]))
    return rich

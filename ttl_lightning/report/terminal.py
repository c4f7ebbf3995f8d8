"""What a person sees of a sweep's report on the terminal."""

from __future__ import annotations

from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ttl_lightning.errors import one_line
from ttl_lightning.report.sweep import Summary
from ttl_lightning.report.tables import COST_NAMES, Table
from ttl_lightning.report.text import count

SHOWN_CAUSES = 20


def show(summary: Summary, console: Console | None = None) -> None:
    """Print the tables, what failed and where the page is."""
    console = console or Console(width=max(100, Console().width))
    shown = zip(summary.tables, summary.headlines, strict=True)
    for (title, table), headline in shown:
        console.print(Text(title, style="bold"))
        console.print(_rich(table))
        console.print(Text(headline))
    for cause in summary.causes[:SHOWN_CAUSES]:
        console.print(Text(f"failed: {one_line(cause)}", style="red"), soft_wrap=True)
    if len(summary.causes) > SHOWN_CAUSES:
        console.print(f"… and {len(summary.causes) - SHOWN_CAUSES} more, which the page lists")
    states = ("failed", "interrupted", "running", "paused")
    counts = [f"{number} {state}" for state in states if (number := getattr(summary, state))]
    if summary.unreadable:
        counts.append(f"{count(summary.unreadable, 'file')} not readable")
    console.print(", ".join([f"{summary.completed} completed", *counts]), highlight=False)
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

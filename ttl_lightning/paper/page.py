"""An entry's results beside the paper's own numbers: a page, and the same as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ttl_lightning.errors import one_line
from ttl_lightning.pages.render import render, stored
from ttl_lightning.pages.table import Cell, Table
from ttl_lightning.pages.text import NONE, signed, spread
from ttl_lightning.paper.chain import Chain
from ttl_lightning.paper.entry import Row
from ttl_lightning.records.files import csv_text, write_atomically
from ttl_lightning.records.folder import PaperFolder
from ttl_lightning.report.methods import Method

COSTS = {"params_m": ("params", 1e6, "parameters, M"), "macs_g": ("macs", 1e9, "MACs, G")}
SETTLED = 3
"""Columns before those that come by threes: measured, published, difference."""
SMALL = (
    "Small scale: drawn images, tiny networks and a single epoch. It shows that the chain runs; "
    "the numbers mean nothing beside the paper's."
)


def write(chain: Chain) -> PaperFolder:
    """Write `paper.html` and `paper.csv` beside the sweeps' folders."""
    there, entry = PaperFolder(chain.root), chain.entry
    rows = [(row, chain.chosen(row.pick)) for row in entry.rows]
    table = compared(chain, rows)
    every = all_settings(chain) if entry.every else None
    pictures = [
        (address, caption)
        for caption, path in chain.pictures()
        if (address := stored(path)) is not None
    ]
    page = render(
        "paper.html.j2",
        title=entry.title,
        small=SMALL if chain.scale == "small" else "",
        table=folded(table),
        every=every,
        pictures=pictures,
        notes=[*entry.notes, *(_missing(rows))],
        command=_command(chain),
        reports=_reports(chain),
    )
    write_atomically(there.page, page.encode("utf-8", "replace"))
    lines = [[cell.text for cell in row] for row in table.rows]
    write_atomically(there.table, csv_text(table.columns, lines).encode())
    return there


def compared(chain: Chain, rows: Sequence[tuple[Row, Method | None]]) -> Table:
    """Each row's measured and published numbers, and their difference."""
    metrics = chain.entry.metrics
    columns = ["row", "cutoff", "seeds"]
    for metric in metrics:
        columns += [f"test {metric}", "published", "difference"]
    for _, _, label in COSTS.values():
        columns += [label, "published", "difference"]
    lines = []
    for row, method in rows:
        cells = [row.label, one_line(method.cutoff or NONE) if method else NONE]
        cells.append(str(len(method.runs)) if method else "0")
        for metric in metrics:
            values = method.values(f"test/{metric}") if method else []
            mean = statistics.fmean(values) if values else None
            cells += [spread(values), *_beside(mean, row.published.get(metric))]
        for key, (cost, unit, _) in COSTS.items():
            found = method.cost(cost) if method else None
            mean = None if found is None else found / unit
            shown = NONE if mean is None else f"{mean:.3f}"
            cells += [shown, *_beside(mean, row.published.get(key))]
        lines.append([Cell(text) for text in cells])
    return Table(tuple(columns), lines)


def folded(table: Table) -> Table:
    """For people: what is published, and the difference, below the number that is measured."""
    columns = [*table.columns[:SETTLED], *table.columns[SETTLED::3]]
    rows = []
    for row in table.rows:
        cells = list(row[:SETTLED])
        for place in range(SETTLED, len(row), 3):
            measured, published, difference = (cell.text for cell in row[place : place + 3])
            aside = "" if published == NONE else f"(paper {published}: {difference})"
            cells.append(Cell(measured, aside=aside))
        rows.append(cells)
    return Table(tuple(columns), rows)


def all_settings(chain: Chain) -> Table:
    """Every completed cutoff of every sweep."""
    metrics = [f"{split}/{name}" for split in ("val", "test") for name in chain.entry.metrics]
    lines = []
    for name in dict.fromkeys(row.pick.sweep for row in chain.entry.rows):
        pick = next(row.pick for row in chain.entry.rows if row.pick.sweep == name)
        for method in chain.methods(pick):
            cells = [name, method.cutoff or NONE, str(len(method.runs))]
            cells += [spread(method.values(metric)) for metric in metrics]
            lines.append([Cell(text) for text in cells])
    return Table(("sweep", "cutoff", "seeds", *metrics), lines)


def _beside(measured: float | None, published: float | None) -> tuple[str, str]:
    if published is None:
        return NONE, NONE
    return f"{published:g}", NONE if measured is None else signed(measured - published)


def _command(chain: Chain) -> str:
    scale = ["--scale small"] if chain.scale == "small" else []
    return " ".join(["ttl-lightning paper", chain.entry.name, *scale, *chain.given])


def _missing(rows: Sequence[tuple[Row, Method | None]]) -> list[str]:
    absent = [row.label for row, method in rows if method is None]
    return [f"No run is completed of: {', '.join(absent)}."] if absent else []


def _reports(chain: Chain) -> list[tuple[str, str]]:
    found = []
    for sweep in chain.entry.sweeps:
        path = Path(sweep.name) / PaperFolder(chain.root).report_of(sweep.name).name
        if (chain.root / path).is_file():
            found.append((sweep.name, path.as_posix()))
    return found

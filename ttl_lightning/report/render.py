"""The report as one HTML page that needs no network and runs no script, whatever results hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ttl_lightning import __version__
from ttl_lightning.errors import one_line
from ttl_lightning.pages.render import render, stored
from ttl_lightning.pages.text import number
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.report.collect import STATUSES, Run, Sweep
from ttl_lightning.report.compare import Row
from ttl_lightning.report.folds import OutOfFold
from ttl_lightning.report.methods import Group, Method
from ttl_lightning.report.words import notes, recommended, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ttl_lightning.pages.table import Table


@dataclass(frozen=True, slots=True)
class Section:
    """What the report says about one data set and backbone.

    Attributes:
        rows: every strategy at its chosen cutoff.
        table: of the rows.
        full: every method.
        figures: by name, `cutoffs` and `tradeoff`.
        panels: addresses of the same, a panel each.
        joined: the rows' cross-validations, the folds of each in one table.
        unjoined: why others are not.
    """

    group: Group
    rows: tuple[Row, ...]
    headline: str
    table: Table
    full: Table
    figures: dict[str, Figure]
    panels: dict[str, list[str]]
    joined: tuple[OutOfFold, ...] = ()
    unjoined: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Data set and backbone."""
        return one_line(f"{self.group.data} · {self.group.backbone}")

    @property
    def notes(self) -> list[str]:
        """What a reader has to know to read the table."""
        told = [one.words for one in self.joined] + [*self.unjoined]
        if told:
            told.insert(0, "Each fold of a cross-validation stands for a seed.")
        return [*notes(self.group, self.rows), *told]


def page(sweep: Sweep, sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        sweep: what was found in its folder.
        sections: one for each data set and backbone with completed runs.
    """
    return render(
        "report.html.j2",
        name=f"Sweep {one_line(sweep.root.resolve().name)}",
        counts={status: len(sweep.having(status)) for status in STATUSES},
        sections=sections,
        loading=[_loading(sweep.root, section.rows) for section in sections],
        pages=[_pages(sweep.root, section.group) for section in sections],
        pictures=[_pictures(sweep.root, section.rows) for section in sections],
        failed=sweep.having("failed"),
        unreadable=sweep.unreadable,
        title=title,
        version=__version__,
    )


def best_run(method: Method) -> Run:
    """The run of the best value of its task's criterion, the first of equals."""
    report = method.report
    scores = (number(run.result.metrics.get(report.criterion)) for run in method.runs)
    known = [float("-inf") if score is None else report.first.sign * score for score in scores]
    return method.runs[known.index(max(known))]


def _pictures(root: Path, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Address and caption of each picture of the rows' best runs."""
    found = []
    for row in rows:
        folder = root / best_run(row.method).folder
        for name, shows in row.method.report.pictures.items():
            if address := stored(folder / name):
                found.append((address, f"{title(row.method)}: {shows}."))
    return found


def _pages(root: Path, group: Group) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of each method its runs' pages: what the link says, and where it leads."""
    found = []
    for method in group.methods:
        links = []
        for run in method.runs:
            page_ = RunFolder(root / run.folder).page
            if page_.is_file():
                fold = "" if run.result.fold is None else f", fold {run.result.fold}"
                where = quote(page_.relative_to(root).as_posix())
                links.append((f"seed {run.result.seed}{fold}", where))
        if links:
            found.append((title(method), links))
    return found


def _loading(root: Path, rows: Sequence[Row]) -> dict[str, object] | None:
    """The run to load: its path, its seed, and whether its checkpoint is there; None if none is."""
    row = recommended(rows)
    if row is None:
        return None
    run = best_run(row.method)
    folder, here = (root / run.folder).resolve(), Path.cwd()
    there = RunFolder(folder).best.is_file()
    # as a command given here would name it
    path = folder.relative_to(here) if folder.is_relative_to(here) else folder
    return {"path": repr(path.as_posix()), "seed": run.result.seed, "there": there}

"""The report as one HTML page that needs no network and runs no script, whatever results hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup, escape

from ttl_lightning import __version__
from ttl_lightning.errors import one_line
from ttl_lightning.report.collect import STATUSES, Run, Sweep
from ttl_lightning.report.compare import Row
from ttl_lightning.report.figures import svg
from ttl_lightning.report.methods import Group, Method
from ttl_lightning.report.text import count, number
from ttl_lightning.report.words import notes, recommended, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ttl_lightning.report.tables import Table


PAGE = "report.html"
CAPTIONS = {
    "cutoffs": (
        "{metric} against the cutoff: means over seeds, with bands from the lowest to the highest "
        "seed. Dashed lines are strategies that split nowhere. Rings mark the chosen cutoffs; they "
        "were chosen on the left, not on the right. Of several settings at a cutoff, such as "
        "learning rates, the best on the left is drawn on both sides."
    ),
    "tradeoff": (
        "Test {metric} against what a model costs: means over seeds, with bars from the lowest to "
        "the highest seed, and over the noise of latencies. No other model is better than those on "
        "the dotted line at a cost that is not higher beyond noise; models whose latency is "
        "unknown are not in the right panel."
    ),
}
STATES = {"running": "still running, or cut off", "paused": "stopped early by the search"}


def _prose(text: str) -> Markup:
    """With no line break between a number and its sign."""
    return Markup(str(escape(text)).replace(" = ", "&nbsp;=&nbsp;").replace(" %", "&nbsp;%"))


def _heading(text: str) -> Markup:
    """What stands in parentheses is on a line of its own."""
    return Markup(str(escape(text)).replace(" (", "<br>(").replace(" % ", "&nbsp;%&nbsp;"))


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("ttl_lightning.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"prose": _prose, "heading": _heading, "one_line": one_line, "count": count}
_TEMPLATES.filters["svg"] = svg


def render(template: str, **values: object) -> Markup:
    """A template of `templates/`, filled; a name that it lacks is an error."""
    return Markup(_TEMPLATES.get_template(template).render(values))


@dataclass(frozen=True, slots=True)
class Section:
    """What the report says about one data set and backbone.

    Attributes:
        rows: every strategy at its chosen cutoff.
        table: of the rows.
        full: every method.
        figures: by a key of `CAPTIONS`.
    """

    group: Group
    rows: tuple[Row, ...]
    headline: str
    table: Table
    full: Table
    figures: dict[str, Figure]

    @property
    def title(self) -> str:
        """Data set and backbone."""
        return one_line(f"{self.group.data} · {self.group.backbone}")

    @property
    def criterion(self) -> str:
        """What models were chosen by."""
        return self.group.report.label(self.group.report.criterion)

    @property
    def captions(self) -> dict[str, str]:
        """Of the figures."""
        metric = self.group.report.first.label
        return {name: text.format(metric=metric) for name, text in CAPTIONS.items()}

    @property
    def notes(self) -> list[str]:
        """What a reader has to know to read the table."""
        return notes(self.group, self.rows)


def page(sweep: Sweep, sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        sweep: what was found in its folder.
        sections: one for each data set and backbone with completed runs.
    """
    return render(
        "report.html.j2",
        name=f"Sweep {one_line(sweep.root.resolve().name)}",
        state=_state(sweep),
        sections=sections,
        loading=[_loading(sweep.root, section.rows) for section in sections],
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


def _state(sweep: Sweep) -> str:
    counts = {state: len(sweep.having(state)) for state in STATUSES}
    said = [f"{n} {STATES.get(s, s)}" for s, n in counts.items() if n or s == "completed"]
    text = f"{count(len(sweep.runs), 'run')}: {', '.join(said)}."
    if sweep.unreadable:
        text += f" {count(len(sweep.unreadable), 'file')} could not be read."
    return text


def _loading(root: Path, rows: Sequence[Row]) -> dict[str, object] | None:
    """The run to load: its path, its seed, and whether its checkpoint is there; None if none is."""
    row = recommended(rows)
    if row is None:
        return None
    run = best_run(row.method)
    folder, here = (root / run.folder).resolve(), Path.cwd()
    there = (folder / "checkpoints" / "best.ckpt").is_file()
    # as a command given here would name it
    path = folder.relative_to(here) if folder.is_relative_to(here) else folder
    return {"path": repr(path.as_posix()), "seed": run.result.seed, "there": there}

"""The report as one HTML page that needs no network and runs no script."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttl_lightning import __version__
from ttl_lightning.report.collect import Run, Sweep
from ttl_lightning.report.headline import recommended, title
from ttl_lightning.report.methods import Group, Method
from ttl_lightning.report.notes import notes
from ttl_lightning.report.rows import Row
from ttl_lightning.report.style import CSS
from ttl_lightning.report.tables import Table
from ttl_lightning.report.text import count, number, one_line

PAGE = "report.html"
# Nothing may be fetched and nothing may run, whatever a result holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
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
STATES = {
    "failed": "failed",
    "interrupted": "interrupted",
    "running": "still running, or cut off",
    "paused": "stopped early by the search",
}


@dataclass(frozen=True, slots=True)
class Section:
    """What the report says about one data set and backbone.

    Attributes:
        rows: every strategy at its chosen cutoff.
        table: of the rows.
        full: every method.
        figures: addresses of images, by a key of `CAPTIONS`.
    """

    group: Group
    rows: tuple[Row, ...]
    headline: str
    table: Table
    full: Table
    figures: dict[str, str]

    @property
    def title(self) -> str:
        """Data set and backbone."""
        return one_line(f"{self.group.data} · {self.group.backbone}")


def page(sweep: Sweep, sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        sweep: what was found in its folder.
        sections: one for each data set and backbone with completed runs.
    """
    name = html.escape(f"Sweep {one_line(sweep.root.resolve().name)}")
    parts = [f"<h1>{name}</h1>", _state(sweep), _headlines(sections)]
    parts += [_section(sweep.root, section, place) for place, section in enumerate(sections, 1)]
    parts += [_failed(sweep.having("failed")), _unreadable(sweep.unreadable)]
    parts.append(f'<p class="soft">Written by ttl_lightning {html.escape(__version__)}.</p>')
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def best_run(method: Method) -> Run:
    """The run of the best value of its task's criterion, the first of equals."""
    report = method.report
    scores = (number(run.result.metrics.get(report.criterion)) for run in method.runs)
    known = [float("-inf") if score is None else report.first.sign * score for score in scores]
    return method.runs[known.index(max(known))]


def _state(sweep: Sweep) -> str:
    counts = [f"{len(sweep.having('completed'))} completed"]
    counts += [
        f"{found} {words}" for state, words in STATES.items() if (found := len(sweep.having(state)))
    ]
    text = f"{count(len(sweep.runs), 'run')}: {', '.join(counts)}."
    if sweep.unreadable:
        text += f" {count(len(sweep.unreadable), 'file')} could not be read."
    return f'<p class="soft">{text}</p>'


def _headlines(sections: Sequence[Section]) -> str:
    if not sections:
        return '<div class="headline"><p>No run is completed: nothing to compare.</p></div>'
    if len(sections) == 1:
        return _headline(sections[0].headline)
    items = _items(
        f'<a href="#s{place}">{html.escape(section.title)}</a>: {_prose(section.headline)}'
        for place, section in enumerate(sections, 1)
    )
    return f'<div class="headline">{items}</div>'


def _headline(text: str) -> str:
    return f'<div class="headline"><p>{_prose(text)}</p></div>'


def _prose(text: str) -> str:
    """Escaped, with no line break between a number and its sign."""
    return html.escape(text).replace(" = ", "&nbsp;=&nbsp;").replace(" %", "&nbsp;%")


def _section(root: Path, section: Section, place: int) -> str:
    below = (_prose(note) for note in notes(section.group, section.rows))
    metric = section.group.report.first.label
    captions = {name: html.escape(CAPTIONS[name].format(metric=metric)) for name in CAPTIONS}
    figures = "\n".join(
        f'<figure><img src="{address}" alt="{captions[name]}">'
        f"<figcaption>{captions[name]}</figcaption></figure>"
        for name, address in section.figures.items()
    )
    return "\n".join(
        [
            f'<section id="s{place}">\n<h2>{html.escape(section.title)}</h2>',
            "<h3>Every strategy at its chosen setting</h3>",
            section.table.html(),
            f'<div class="soft">{_items(below)}</div>',
            f"<details><summary>All {len(section.full.rows)} methods and settings</summary>",
            f"{section.full.html()}</details>",
            f"<h3>Cutoffs and costs</h3>\n{figures}",
            _choices(section.rows),
            _loading(root, section.rows),
            "</section>",
        ]
    )


def _choices(rows: Sequence[Row]) -> str:
    items = _items(
        f"<b>{html.escape(title(row.method))}</b>: {html.escape(row.choice.reason)}" for row in rows
    )
    return (
        "<h3>How the settings were chosen</h3>\n<p>Nothing was chosen on the test split: cutoffs, "
        "what else was swept, and the model to take were chosen on the validation split alone.</p>"
        f"\n{items}"
    )


def _loading(root: Path, rows: Sequence[Row]) -> str:
    row = recommended(rows)
    if row is None:
        return ""
    run = best_run(row.method)
    folder = root / run.folder
    code = f"import ttl_lightning as ttl\n\ntask = ttl.load({_path(folder)!r})  # ready to predict"
    report = row.method.report
    note = f"Seed {run.result.seed} has the best {report.label(report.criterion)} of its seeds."
    if not (folder / "checkpoints" / "best.ckpt").is_file():
        note += " Its checkpoint is not in the folder any more."
    return (
        f"<h3>Load the model</h3>\n<pre><code>{html.escape(code)}</code></pre>\n"
        f'<p class="soft">{html.escape(note)}</p>'
    )


def _path(folder: Path) -> str:
    """As a command given here would name it."""
    whole = folder.resolve()
    here = Path.cwd()
    return (whole.relative_to(here) if whole.is_relative_to(here) else whole).as_posix()


def _failed(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    items = []
    for run in runs:
        item = f"<code>{html.escape(one_line(run.folder))}</code><br>"
        item += f'<span class="cause">{html.escape(run.cause)}</span>'
        if run.log_tail:
            log = html.escape("\n".join(map(one_line, run.log_tail)))
            item += f"<details><summary>last lines of its log</summary><pre>{log}</pre></details>"
        items.append(item)
    listed = _items(items).replace("<ul>", '<ul class="failed">', 1)
    return f"<h2>{count(len(runs), 'failed job')}</h2>\n{listed}"


def _unreadable(files: dict[str, str]) -> str:
    if not files:
        return ""
    items = _items(
        f"<code>{html.escape(one_line(name))}</code>: {html.escape(one_line(reason))}"
        for name, reason in files.items()
    )
    return f"<h2>{count(len(files), 'file')} that could not be read</h2>\n{items}"


def _items(items: Iterable[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>"

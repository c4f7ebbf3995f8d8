"""`ttl-lightning evaluate run=FOLDER data=…`: a finished run on data that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttl_lightning.cli import arguments as given
from ttl_lightning.errors import ConfigError

if TYPE_CHECKING:
    from ttl_lightning.runs.external import Scored

USE = """usage: ttl-lightning evaluate run=FOLDER[,FOLDER…] [data=… data.KEY=…] [KEY=VALUE …]

Scores finished runs on any data that a run can be trained on: all of them is one test split, unless
split=train|val|test takes a part. Images are seen as the run saw its own. Without data=, it is the
run's own test split. Several runs are scored each, beside each other, and their mean.

  ttl-lightning evaluate run=outputs/RUN data=csv data.path=OTHER/labels.csv
  ttl-lightning evaluate run=outputs/RUN data=folder data.path=OTHER classes.NORMAL=normal

classes.THEIRS=OURS names a class that is called otherwise there; threshold=RULE chooses the
operating point anew on the run's validation split; calibrated=true scales probabilities by the
run's temperature. Results go to FOLDER/evaluations/NAME, or to output=FOLDER.

Options: {options}"""


@dataclass
class Options:
    """What `evaluate` takes beside the data."""

    run: str = ""
    split: str | None = None
    name: str | None = None
    output: str | None = None
    threshold: str | None = None
    calibrated: bool = False
    classes: dict[str, str] = field(default_factory=dict)
    device: str = "auto"


def usage(arguments: Sequence[str]) -> str:  # noqa: ARG001 - as of every command
    """The help's text."""
    return USE.format(options=given.shown(Options))


def run(arguments: Sequence[str]) -> None:
    """Score, print and write.

    Raises:
        TTLError: if runs, data or options cannot be used.
    """
    overrides, own = given.of_data(arguments)
    options: Options = given.chosen(Options, own)
    runs = given.several(options.run)
    if not runs:
        raise ConfigError("which run? Give run=FOLDER.")
    place = _place(options, runs[0], overrides)
    if place.exists():
        raise ConfigError(f"{place} is there already: name=… or output=… names another.")

    from ttl_lightning.runs.callbacks.progress import quiet
    from ttl_lightning.runs.external import Request, evaluate_on
    from ttl_lightning.runtime.allocator import freed_memory_kept

    with quiet(), freed_memory_kept():
        found = evaluate_on(
            Request(
                run=runs,
                overrides=overrides,
                split=options.split,
                classes=options.classes,
                threshold=options.threshold,
                calibrated=options.calibrated,
                device=options.device,
            )
        )
        # of several, the last is their mean; each run has its own folder below
        for scored, name in zip(found, _names(runs), strict=True):
            folder = place / name if name else place
            scored.write(folder)
            _show(scored, folder)


def _place(options: Options, run: str, overrides: Sequence[str]) -> Path:
    if options.output is not None:
        return Path(options.output)
    from ttl_lightning.records.folder import RunFolder

    chosen = next((o.partition("=")[2] for o in overrides if o.startswith("data=")), "own")
    return RunFolder(Path(run)).evaluations / (options.name or chosen)


def _names(runs: Sequence[str]) -> list[str]:
    """Folders of several evaluations: the runs by their numbers, and their mean."""
    return [""] if len(runs) == 1 else [*(f"run{n}" for n in range(1, len(runs) + 1)), "mean"]


def _show(scored: Scored, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    one = scored.evaluation
    table = Table()
    for column, side in (("", "left"), ("test", "right"), ("95 % interval", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for key in scored.predictor.task.report.shown:
        table.add_row(key, _number(one.metrics.get(key)), _span(one.intervals.get(key)))
    if one.operating:
        table.add_section()
        table.add_row(f"[bold]at the operating point[/] ({one.operating['rule']})")
        for key, value in one.operating["test"].items():
            table.add_row(key, _number(value))
    if one.differences:
        table.add_section()
        table.add_row("[bold]difference from the first run[/]")
        for key, each in one.differences.items():
            table.add_row(key, _number(each["difference"]), _span(each.get("interval")))
    console = Console(width=max(80, Console().width))
    title = f"{one.run} on {one.data}, split {one.split}, {one.samples} samples"
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    console.print(table)
    for note in scored.data.notes:
        console.print(f"Note: {note}", soft_wrap=True, highlight=False)
    console.print(f"Results in {folder}", soft_wrap=True, highlight=False)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _span(span: Any) -> str:  # noqa: ANN401 - a pair or nothing
    return f"{span[0]:.3f} – {span[1]:.3f}" if span else ""

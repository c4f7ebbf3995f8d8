"""`ttl-lightning paper NAME`: a table or figure of the paper, run and shown beside its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.paper.entries import ENTRIES
from ttl_lightning.paper.entry import SCALES

FOLDER = "multirun/paper"
USE = """usage: ttl-lightning paper NAME [--scale small] [KEY=VALUE …]
       ttl-lightning paper --list

Runs what a table or figure of the paper needs, or what is left of it, and writes its results
beside the paper's own numbers. Overrides are those of a run; NAME:KEY=VALUE is for the sweeps
whose name begins so. --scale small runs the same rows on drawn images with tiny networks.

  ttl-lightning paper table1 data.path=bimcv/
  ttl-lightning paper fig8 source:data.path=CheXpert-v1.0-small/ target:data.path=bimcv/
  ttl-lightning paper table1 --scale small

  output=FOLDER    where to (multirun/paper/NAME)

{names}"""


def usage(arguments: Sequence[str]) -> str:  # noqa: ARG001 - as of every command
    """The help's text, with every name."""
    names = (f"  {entry.name:<14}{entry.title}" for entry in ENTRIES.values())
    return USE.format(names="\n".join(names))


def run(arguments: Sequence[str]) -> None:
    """Run an entry and print its table, or list all of them.

    Raises:
        TTLError: if there is no such entry, or one of its commands fails.
    """
    given = list(arguments)
    if "--list" in given:
        _list()
        return
    scale = _scale(given)
    names = [argument for argument in given if "=" not in argument]
    if len(names) != 1:
        raise ConfigError(f"which table or figure? {', '.join(ENTRIES)}; --list says more.")
    check_choice("table or figure", names[0], ENTRIES)

    from rich.console import Console

    from ttl_lightning.paper.chain import Chain
    from ttl_lightning.paper.page import compared, folded, write

    entry = ENTRIES[names[0]]
    root, overrides = Path(FOLDER) / (f"{entry.name}-small" if scale == "small" else entry.name), []
    for argument in given:
        key, equals, value = argument.partition("=")
        if key == "output" and equals:
            root = Path(value)
        elif equals:
            overrides.append(argument)
    chain = Chain(entry, root.absolute(), scale, tuple(overrides))
    chain.run()
    there = write(chain)
    table = compared(chain, [(row, chain.chosen(row.pick)) for row in entry.rows])
    console = Console(width=max(120, Console().width))
    console.print(entry.title, style="bold")
    console.print(folded(table).markdown(), highlight=False, soft_wrap=True)
    console.print(f"page: {there.page}", soft_wrap=True, highlight=False)


def _scale(given: list[str]) -> str:
    """What `--scale` asks for, which is taken out of the arguments.

    Raises:
        ConfigError: if it is none.
    """
    for place, argument in enumerate(given):
        name, equals, value = argument.partition("=")
        if name != "--scale":
            continue
        if not equals:
            if place + 1 == len(given):
                raise ConfigError("--scale must be full or small.")
            value = given.pop(place + 1)
        given.pop(place)
        check_choice("scale", value, SCALES)
        return value
    return "full"


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    columns = ("name", "what", "needs", "trainings", "of at most", "EMACs at most")
    for column in columns:
        table.add_column(column, justify="left" if column in ("name", "what", "needs") else "right")
    for entry in ENTRIES.values():
        # a step backward costs about twice one forward
        cost = 3 * entry.trainings * entry.epochs * entry.images * entry.macs_g / 1e9
        epochs = f"{entry.epochs} epochs"
        shown = (str(entry.trainings), epochs, f"{cost:.2g}")
        table.add_row(entry.name, entry.title, entry.needs, *shown)
    Console(width=max(140, Console().width)).print(table)

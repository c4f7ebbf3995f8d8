"""`ttl-lightning predict run=FOLDER input=PATH`: a finished run on images without labels."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ttl_lightning.cli import arguments as given
from ttl_lightning.errors import FAILED, ConfigError
from ttl_lightning.records.folder import RunFolder

if TYPE_CHECKING:
    from ttl_lightning.runs.predict_file import Progress

SAID_EVERY_S = 10.0
USE = """usage: ttl-lightning predict run=FOLDER[,FOLDER…] input=PATH [output=FILE.csv]

Predicts images, or studies where the run sees volumes: a file, a folder with all that lies below, a
pattern ('scans/*.png'), a .csv file with a column path, or - for a list on the standard input.
The table has a row a file, in order: its name, a probability a class, and the class by the run's
operating point; what cannot be read has the reason instead, and the exit status is then 1. A job
that was stopped goes on with the same command. Several runs are averaged. Masks go to a folder
beside the table, and with gradcam=true pictures of where the (first) run looks to another.

  ttl-lightning predict run=outputs/RUN input=scans output=predictions.csv

Options: {options}"""


@dataclass
class Options:
    """What `predict` takes."""

    run: str = ""
    input: str = ""
    output: str = RunFolder(Path()).predictions.name
    device: str = "auto"
    gradcam: bool = False


def usage(arguments: Sequence[str]) -> str:  # noqa: ARG001 - as of every command
    """The help's text."""
    return USE.format(options=given.shown(Options))


def run(arguments: Sequence[str]) -> None:
    """Predict, and say how far it is.

    Raises:
        TTLError: if runs, inputs or output cannot be used.
        SystemExit: with `FAILED`, if files could not be read.
    """
    options: Options = given.chosen(Options, arguments)
    runs = given.several(options.run)
    if not runs:
        raise ConfigError("which run? Give run=FOLDER.")
    if not options.input:
        raise ConfigError("which images? Give input=PATH.")

    from ttl_lightning.data.inputs import find_inputs
    from ttl_lightning.data.window_options import WindowView
    from ttl_lightning.runs.callbacks.progress import quiet
    from ttl_lightning.runs.inference import device_of
    from ttl_lightning.runs.predict_file import predict_to
    from ttl_lightning.runs.predictor import load
    from ttl_lightning.runtime.allocator import freed_memory_kept

    output = Path(options.output)
    with quiet(), freed_memory_kept():
        predictors = [load(folder).to(device_of(options.device)) for folder in runs]
        volumes = isinstance(predictors[0].preprocessing.view, WindowView)
        inputs = find_inputs([options.input], sys.stdin, volumes=volumes)
        masks = output.with_name(f"{output.stem}_masks")
        end = predict_to(predictors, inputs, output, _teller(), masks=masks)
        if options.gradcam:
            from ttl_lightning.interpret.overlays import write_overlays

            write_overlays(predictors[0], inputs, output.with_name(f"{output.stem}_gradcam"))
    for note in end.notes:
        print(f"note: {note}", file=sys.stderr)  # noqa: T201
    print(f"{end.total} files predicted; {output}")  # noqa: T201 - a command's output
    if end.bad:
        print(  # noqa: T201
            f"error: {end.bad} of {end.total} files could not be read: see the column error.",
            file=sys.stderr,
        )
        raise SystemExit(FAILED)


def _teller() -> Callable[[Progress], None]:
    """Says how many are done, how fast, and how long the rest takes: now and then, or in a bar."""
    started, said = time.monotonic(), 0.0
    watched = sys.stderr.isatty()

    def tell(state: Progress) -> None:
        nonlocal said
        now = time.monotonic()
        done, left = state.done - state.before, state.total - state.done
        if not watched and now - said < SAID_EVERY_S and left and done:
            return
        said = now
        rate = done / max(now - started, 1e-9)
        rest = f", {rate:.1f} files/s, {left / rate:.0f} s left" if done else ""
        end = "\r" if watched and left else "\n"
        line = f"{state.done} of {state.total} files{rest}"
        print(line.ljust(60), file=sys.stderr, end=end, flush=True)  # noqa: T201

    return tell

"""`ttl-lightning report multirun/NAME`: the report of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttl_lightning.errors import ConfigError, DataError


def usage(arguments: Sequence[str]) -> str:  # noqa: ARG001 - as of every command
    """The help's text."""
    return """usage: ttl-lightning report FOLDER

Writes report.html, its tables and figures into the folder of a sweep, such as multirun/NAME."""


def run(arguments: Sequence[str]) -> None:
    """Write the report, and show its table.

    Raises:
        TTLError: if the folder is no sweep's, or cannot be written.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise ConfigError(
            f"report takes one folder, such as multirun/NAME, got {' '.join(arguments) or 'none'}."
        )
    from ttl_lightning.report.sweep import show, write

    try:
        summary = write(Path(arguments[0]))
    except OSError as error:
        raise DataError(str(error)) from error
    show(summary)

"""What every command shares: its help, one line for a mistake, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from ttl_lightning.errors import USAGE, TTLError
from ttl_lightning.runtime.shortage import shortage
from ttl_lightning.runtime.stopping import heed_sigterm, name_of, status_of

HELP = ("-h", "--help")


def run(
    act: Callable[[list[str]], None], usage: Callable[[], str], arguments: Sequence[str]
) -> None:
    """Do what a command line asks for, or print its help; exits with a status other than 0.

    Args:
        act: takes the arguments.
        usage: makes the help's text, without importing what takes seconds.
        arguments: what the user wrote after the command's name.
    """
    if any(argument in HELP for argument in arguments):
        print(usage())  # noqa: T201 - a command's output
        return
    heed_sigterm()
    try:
        act(list(arguments))
    except TTLError as error:
        _say(f"error: {error}")
        sys.exit(USAGE)
    except KeyboardInterrupt as stop:
        _say(f"stopped by {name_of(stop)}.")
        sys.exit(status_of(stop))
    except (OSError, MemoryError, RuntimeError) as error:
        lacking = shortage(error)
        if lacking is None:
            raise
        _say(f"error: {lacking}")
        sys.exit(USAGE)


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - what a command line is for

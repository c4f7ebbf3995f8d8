"""The one place that turns what goes wrong into a line on stderr and an exit status."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from ttl_lightning.errors import FAILED, USAGE, NonFiniteLossError, TTLError, one_line
from ttl_lightning.runtime.shortage import shortage
from ttl_lightning.runtime.stopping import heed_sigterm, name_of, status_of


@contextlib.contextmanager
def told() -> Iterator[None]:
    """End the process with one line and a status if a mistake, a signal or a shortage ends it.

    An interrupt's notes say how to go on. Any other error is one of the program, and passes.
    """
    heed_sigterm()
    try:
        yield
    except TTLError as error:
        _exit(f"error: {error}", FAILED if isinstance(error, NonFiniteLossError) else USAGE)
    except KeyboardInterrupt as stop:
        _exit(": ".join((f"stopped by {name_of(stop)}", *_notes(stop))) + ".", status_of(stop))
    except (OSError, MemoryError, RuntimeError) as error:
        lacking = shortage(error)
        if lacking is None:
            raise
        _exit(f"error: {lacking}", USAGE)


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def _exit(line: str, status: int) -> None:
    print(one_line(line), file=sys.stderr)  # noqa: T201 - what a command line is for
    sys.exit(status)

"""How a run stops: by a mistake, by Ctrl-C or by SIGTERM, each with its exit status."""

from __future__ import annotations

import signal
import threading
from types import FrameType

# 128 + the signal's number, as a shell says it
INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a scheduler sends before it kills."""


def heed_sigterm() -> None:
    """Let SIGTERM stop what runs as Ctrl-C does, unless something heeds it already."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an error is, or that it came from: Lightning makes an exit of it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return seen
        seen = seen.__cause__ or seen.__context__ if isinstance(seen, SystemExit) else None
    return None


def status_of(stop: KeyboardInterrupt) -> int:
    """The exit status."""
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def name_of(stop: KeyboardInterrupt) -> str:
    """What stopped it, as a person says it."""
    return "SIGTERM" if isinstance(stop, Terminated) else "Ctrl-C"


def _stop(_: int, __: FrameType | None) -> None:
    raise Terminated

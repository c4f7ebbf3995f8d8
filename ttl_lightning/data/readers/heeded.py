"""What decoders warn of: no lines of theirs on the terminal, and nothing of it lost."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_LIBRARIES = ("pydicom", "nibabel.global")
# of the spelling of values, most of which nothing here reads; the others are checked
_OF_SPELLING = "Invalid value for VR"


class _Within(threading.local):
    """What a thread has been warned of while it reads a file; None while it reads none."""

    texts: list[str] | None = None


_lock, _within, _said = threading.Lock(), _Within(), set[str]()
_threads, _open = 0, ExitStack()


@contextmanager
def heeded(path: Path) -> Iterator[None]:
    """Read a file whose damage is an error, and say in one line what else a decoder warns of.

    Without it a decoder's warnings, which name no file, stand beside the error of a file that is
    refused. Of one that is read all the same each kind is logged once a process, with the first
    file. Threads may be within together, though Python's filters belong to the whole process.

    Args:
        path: of the file, or of the folder of a series.
    """
    texts: list[str] = []
    _within.texts = texts
    _enter()
    try:
        yield
    finally:
        _leave()
        _within.texts = None
    for text in texts:
        kind = re.sub(r"\d+", "0", text)
        if kind not in _said and not text.startswith(_OF_SPELLING):
            _said.add(kind)
            log.warning("%s is read, but: %s", path, text)


def _enter() -> None:
    global _threads
    with _lock:
        if _threads == 0:
            _open.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always", UserWarning)
            show = warnings.showwarning

            def hear(message: Warning | str, category: type[Warning], *place: Any) -> None:
                if _within.texts is None or not issubclass(category, UserWarning):
                    show(message, category, *place)
                else:
                    _within.texts.append(" ".join(str(message).split()))

            warnings.showwarning = hear  # type: ignore[assignment]
            for library in _LIBRARIES:
                logger = logging.getLogger(library)
                _open.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL + 1)
        _threads += 1


def _leave() -> None:
    global _threads
    with _lock:
        _threads -= 1
        if _threads == 0:
            _open.close()

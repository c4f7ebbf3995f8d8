"""Files that a crash cannot tear, and the texts of those that hold values."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

# how the name of a file ends that is being written
PART = ".part"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by new content in a single step that a crash cannot tear."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def json_text(content: object) -> str:
    """A .json file's text; what is not finite becomes null."""
    return json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def csv_text(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A .csv file's text; None is an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def short(value: object) -> str:
    """A value as an error quotes it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def remove_parts(*folders: Path) -> None:
    """Remove what writes into these folders left that were killed half-way.

    Nobody may be writing there; folders below them may be those of others, which write just now.
    """
    for folder in folders:
        for part in folder.glob(f".*{PART}"):
            part.unlink(missing_ok=True)


def finite(value: object) -> object:
    """JSON has no NaN: what is not finite becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value

"""One run's result, to and from `result.json`: the only place that knows the schema."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from ttl_lightning.errors import DataError

SCHEMA = 1
FILE_NAME = "result.json"
# how the name of a file ends that is being written
PART = ".part"


WAY_OUT = "The run that it is of goes on with resume=never, from the beginning."
# What a file that another program wrote, or that was damaged, may hold anything under.
TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "data", "backbone", "strategy", "status"), str),
    **dict.fromkeys(("cutoff", "error", "config_sha256"), (str, type(None))),
    **dict.fromkeys(("metrics", "intervals", "complexity", "train", "model", "notes"), dict),
    **dict.fromkeys(("identity", "versions"), dict),
    **dict.fromkeys(("overrides", "log_tail", "bad_images"), list),
    "weights": (dict, type(None)),
    "cutoff_index": (int, type(None)),
    "seed": int,
}


@dataclass(slots=True)
class RunResult:
    """What one run was and what came of it. What is undefined is None, its reason in `notes`.

    Attributes:
        status: `running`, `completed`, `paused` (at `until_epoch`), `failed` or `interrupted`;
            `pending` before training begins, which no file says.
        error: the cause, in one line, of a run that failed.
        cutoff: the unit's full name (`block3.6`), None for strategies that split nowhere.
        cutoff_index: its position, counted from 1.
        metrics: by `split/name`.
        intervals: 95 % bootstrap intervals of the test metrics, by the same names.
        complexity: of the trained model, with that of the untruncated network under `untruncated`.
            `latency_ms` is by device, None where it could not be measured; its `ratio` is to the
            untruncated network's fastest pass, both timed by turns.
        train: epochs, times and speed.
        model: what, beside the fields above, is needed to build the model again and to feed it.
        weights: what was loaded into the backbone, if anything was.
        log_tail: of a job that failed, the last lines that it printed.
        identity: the values that bear on the result, by name; empty in files of older versions.
        config_sha256: fingerprint of these.
    """

    name: str
    data: str
    backbone: str
    strategy: str
    cutoff: str | None
    cutoff_index: int | None
    seed: int
    status: str = "pending"
    error: str | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    complexity: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] | None = None
    model: dict[str, Any] = field(default_factory=dict)
    bad_images: list[dict[str, str]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    log_tail: list[str] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=dict)
    config_sha256: str | None = None
    schema: int = SCHEMA

    @property
    def succeeded(self) -> bool:
        """Whether the run did all that it was asked for: to its end, or to its pause."""
        return self.status in ("completed", "paused")

    def save(self, folder: Path) -> None:
        """Write `result.json` into the folder, replacing the one there in a single step."""
        write_atomically(folder / FILE_NAME, json_text(asdict(self)).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `result.json` from the folder.

        Raises:
            DataError: if it is missing, half-written, or of another schema.
        """
        path = folder / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except RecursionError as error:
            raise DataError(f"{path} is nested too deep to be a result. {WAY_OUT}") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}. {WAY_OUT}") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise DataError(f"{path} is not a result of schema {SCHEMA}.")
        known = {f.name for f in fields(cls)}
        try:
            found = cls(**{key: value for key, value in content.items() if key in known})
        except TypeError as error:
            raise DataError(f"{path} lacks a field of schema {SCHEMA}: {error}") from error
        for name, allowed in TYPES.items():
            value = getattr(found, name)
            if not isinstance(value, allowed) or isinstance(value, bool):
                raise DataError(f"{path}: {name} must not be {short(value)}.")
        return found


def short(value: object) -> str:
    """A value as an error quotes it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


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


def remove_parts(folder: Path) -> None:
    """Remove what writes of a run left that were killed half-way.

    Nobody may be writing there: the run that calls this has the folder for itself. Other folders
    below it may be those of other runs, which write just now.
    """
    for place in (folder, folder / "checkpoints", folder / "analysis"):
        for part in place.glob(f".*{PART}"):
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

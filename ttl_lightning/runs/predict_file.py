"""Predictions of many files into a table that grows as they are made, and that can go on."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ttl_lightning.data.inputs import Inputs, reader_of
from ttl_lightning.data.readers.reading import LeftOut, left_out_notes
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import ConfigError
from ttl_lightning.records.files import csv_text, json_text, write_atomically
from ttl_lightning.runs.inference import check_same
from ttl_lightning.runs.predict import Answer, answer
from ttl_lightning.runs.predictor import Predictor

# Files that are predicted together; a job that is killed loses no more than these.
IMAGES_AT_ONCE, STUDIES_AT_ONCE = 256, 4
ID, ERROR = "id", "error"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        done: files.
        before: those done before it began.
        total: of how many.
        bad: those that could not be read.
        notes: at its end, what of the files that it read was not seen.
    """

    done: int
    before: int
    total: int
    bad: int
    notes: tuple[str, ...] = ()


def predict_to(
    predictors: Sequence[Predictor],
    inputs: Inputs,
    output: Path,
    told: Callable[[Progress], None] = lambda _: None,
    *,
    masks: Path | None = None,
) -> Progress:
    """Predict files in order, a row each; where the table has rows of this very job, go on.

    Args:
        predictors: of one task and its classes; of several, the mean.
        inputs: what there is to predict.
        output: the table. Beside it lies what the job is, by which it is known again.
        told: of each step.
        masks: folder of the masks that the runs predict, if they do.

    Returns:
        The last step.

    Raises:
        ConfigError: if the table is there and of another job, or cannot be written.
        DataError: if a run's folder does not say how it saw images.
    """
    check_same([predictor.task for predictor in predictors])
    volumes = isinstance(predictors[0].preprocessing.view, WindowView)
    step = STUDIES_AT_ONCE if volumes else IMAGES_AT_ONCE
    rows = _begun(output, _job(predictors, inputs, step), step, len(inputs.ids))
    state = Progress(len(rows), len(rows), len(inputs.ids), sum(bool(row[-1]) for row in rows))
    told(state)
    header = _header(output) if rows else []
    waiting: list[tuple[str, Answer]] = []
    seen: list[str] = []
    left_out: list[LeftOut] = []
    for start in range(state.done, state.total, step):
        part = inputs.part(start, start + step)
        found = answer(predictors, reader_of(part.paths, volumes=volumes), part.ids)
        for name, content in found.files:
            _write_mask(masks, name, content)
        waiting += [(name, found) for name in part.ids]
        seen += found.ids
        left_out += found.left_out
        last = start + step >= state.total
        if found.columns or last:
            names = [ID, *found.columns, ERROR]
            if not header:
                header = names
                _append(output, [header])
            _append(output, _rows(waiting, header))
            waiting = []
        state = Progress(
            start + len(part.ids), state.before, state.total, state.bad + len(found.bad)
        )
        told(state)
    return replace(state, notes=tuple(left_out_notes(left_out, seen)))


def _rows(waiting: Sequence[tuple[str, Answer]], header: Sequence[str]) -> list[list[str]]:
    rows = []
    for name, found in waiting:
        if name in found.bad:
            rows.append([name, *[""] * (len(header) - 2), found.bad[name]])
        else:
            place = found.ids.index(name)
            rows.append([name, *(found.columns[key][place] for key in header[1:-1]), ""])
    return rows


def _job(predictors: Sequence[Predictor], inputs: Inputs, step: int) -> dict[str, object]:
    """What makes a job the same one: the weights, the decisions, and the files by their names."""
    digest = hashlib.sha256()
    for name, path in zip(inputs.ids, inputs.paths, strict=True):
        digest.update(f"{name}\0{path.absolute()}\0".encode(errors="backslashreplace"))
    return {
        "weights": [predictor.weights for predictor in predictors],
        "operating": predictors[0].operating,
        "inputs": digest.hexdigest(),
        "at_once": step,
    }


def _begun(output: Path, job: dict[str, object], step: int, total: int) -> list[list[str]]:
    """The rows that are there of whole steps, the file being cut after them.

    Raises:
        ConfigError: if they are of another job, or nothing can be written.
    """
    beside = output.with_name(f"{output.name}.job.json")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if not output.exists():
            write_atomically(beside, json_text(job).encode())
            return []
        known = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else None
        if known != json.loads(json_text(job)):
            raise ConfigError(
                f"{output} is there already, and of other runs or inputs: give another output=."
            )
        with output.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        # a row that was cut off lacks its end; a step that was, some of its rows
        kept = [row for row in rows if len(row) == len(header)]
        if len(kept) < total:
            kept = kept[: len(kept) // step * step]
        if kept:
            write_atomically(output, csv_text(header, kept).encode())
        else:
            output.unlink()
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from error
    return kept


def _header(output: Path) -> list[str]:
    with output.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _append(output: Path, rows: Sequence[Sequence[str]]) -> None:
    first, *others = rows
    try:
        with output.open("a", newline="", encoding="utf-8") as file:
            file.write(csv_text(first, others))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from error


def _write_mask(folder: Path | None, name: str, content: bytes) -> None:
    if folder is None:
        return
    place = folder / name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, content)
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror}.") from error

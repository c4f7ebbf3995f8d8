"""data=volumes: studies (DICOM series, NIfTI, .npy, .npz, HDF5) with a table of their labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ttl_lightning.data.content import file_hash, listing_hash
from ttl_lightning.data.readers.archive import ARCHIVES, ArchiveStudies, study_names
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.studies import StudyFiles, find_studies
from ttl_lightning.data.samples import Integers, Samples, listed
from ttl_lightning.data.sources.base import Source, existing_path
from ttl_lightning.data.tables.table import TableOptions
from ttl_lightning.data.tables.text import Table, read_header, read_table
from ttl_lightning.data.window_options import AbnormalView
from ttl_lightning.errors import DataError, UnknownNameError

LABELS, ABNORMAL_COLUMN = "labels.csv", "abnormal_slices"
"""The table beside the studies, and a column that is used where it exists, unless named."""

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")

Range = tuple[int, int]
"""First and last slice."""


@dataclass(frozen=True, kw_only=True)
class StudiesSource(TableOptions, Source):
    """Studies below a folder or in an archive, listed in a .csv file with a header.

    One label column holds class names or numbers; several hold 0 or 1 each.

    Attributes:
        path: a folder with studies, as `find_studies` finds them, or an archive of them.
        labels: the .csv file; by default labels.csv in the folder or beside the archive.
        study_column: with the studies' names: as `find_studies` or `study_names` gives them.
        abnormal_column: slices that show what is looked for, counted from 0 in the reader's order,
            such as "12-20 25"; by default "abnormal_slices" where there is such a column.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such file or folder.
    """

    view = AbnormalView
    defaults: ClassVar[Mapping[str, Any]] = {"cache": "disk"}
    places: ClassVar[tuple[str, ...]] = ("path", "labels")
    has_numbers: ClassVar[bool] = True

    name: str = "volumes"
    path: str | Path | None = None
    labels: str | Path | None = None
    study_column: str = "study"
    abnormal_column: str | None = None

    def __post_init__(self) -> None:
        """Check what was given, and the table's header."""
        super().__post_init__()
        path = existing_path(self.path)
        if path.is_file() and path.suffix.lower() not in ARCHIVES:
            raise UnknownNameError("data.path, neither a folder nor", path.name, ARCHIVES)
        labels = _labels_path(path, self.labels)
        if not labels.is_file():
            raise DataError(
                f"data.labels: no such file: {labels}; it must be a .csv file that lists "
                "the studies and their labels."
            )
        others = {"study_column": self.study_column, "abnormal_column": self.abnormal_column}
        self.check(read_header(labels), others, labels)

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the table's bytes and the archive's, or of the sizes of the listed studies' files.

        Raises:
            DataError: if table or studies cannot be read.
        """
        path = existing_path(options["path"])
        labels = _labels_path(path, options["labels"])
        table = {"table": file_hash(labels)}
        if path.is_file():
            return {**table, "file": file_hash(path)}
        found = find_studies(path)
        named = read_table(labels).columns[options["study_column"]]
        files = (file for name in named if name in found for file in _files(name, found[name]))
        return {**table, "listing": listing_hash(files)}

    def load(self, side: int) -> Samples:
        """Find the studies and read the table.

        Raises:
            DataError: naming the row and column, or the studies, that are not as they should be.
        """
        path = existing_path(self.path)
        table = self.usable(read_table(_labels_path(path, self.labels)))
        studies = table.filled(self.study_column)
        samples = self.samples(table, studies, self.seed)
        ranges = self._abnormal_ranges(table)
        found = find_studies(path) if path.is_dir() else dict.fromkeys(study_names(path), path)
        unlisted = _check_found(table.path, path, studies, list(found))
        reader: Reader = (
            StudyFiles([found[name] for name in studies])
            if path.is_dir()
            else ArchiveStudies(path, studies)
        )
        return replace(
            samples,
            reader=reader,
            notes=(*samples.notes, *unlisted),
            abnormal=None
            if ranges is None
            else partial(_abnormal_slices, table.path, studies, ranges),
        )

    def _abnormal_ranges(self, table: Table) -> list[list[Range]] | None:
        column = self.abnormal_column or ABNORMAL_COLUMN
        if column not in table.columns:
            return None
        ranges = []
        for row, text in enumerate(table.columns[column]):
            matches = [_RANGE.fullmatch(part) for part in text.split()]
            pairs = [(int(m[1]), int(m[2] or m[1])) for m in matches if m]
            if not all(matches) or any(first > last for first, last in pairs):
                raise table.error(row, column, "slices from 0 and ranges of them, as in '12-20 25'")
            ranges.append(pairs)
        return ranges


def _abnormal_slices(
    table: Path, studies: Sequence[str], ranges: Sequence[Sequence[Range]], row: int, count: int
) -> Integers:
    """Slices that the table names, ascending.

    Raises:
        DataError: naming the study, if it has fewer slices.
    """
    beyond = [last for _, last in ranges[row] if last >= count]
    if beyond:
        raise DataError(
            f"{table}: study {studies[row]!r} has slices 0 to {count - 1}, "
            f"so slice {beyond[0]} cannot be abnormal."
        )
    slices = [np.arange(first, last + 1) for first, last in ranges[row]]
    return np.unique(np.concatenate([np.empty(0, np.int64), *slices]))


def _check_found(
    table: Path, path: Path, studies: Sequence[str], found: Sequence[str]
) -> tuple[str, ...]:
    """Demand that every study of the table exists; note those that it does not list."""
    missing = sorted(set(studies) - set(found))
    if missing:
        raise DataError(
            f"{table} lists studies that {path} does not have: "
            f"{listed(missing)}. It has {listed(found)}."
        )
    unlisted = sorted(set(found) - set(studies))
    if not unlisted:
        return ()
    return (
        f"{len(unlisted)} studies of {path} are left out, because "
        f"{table.name} does not list them: {listed(unlisted)}.",
    )


def _labels_path(path: Path, labels: str | Path | None) -> Path:
    """The table: the one that is named, or that in the folder or beside the archive."""
    beside = path if path.is_dir() else path.parent
    return beside / LABELS if labels is None else Path(labels).expanduser()


def _files(study: str, path: Path) -> Iterator[tuple[str, Path]]:
    """A study's file, or every file of its folder, by name."""
    if path.is_dir():
        yield from ((f"{study}/{file.name}", file) for file in path.iterdir() if file.is_file())
    else:
        yield study, path

"""data=volumes: studies (DICOM series, NIfTI, .npz, HDF5) with a table of their labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np

from ttl_lightning.data.content import file_hash, listing_hash
from ttl_lightning.data.image_module import existing_path
from ttl_lightning.data.readers.archive import ARCHIVES, ArchiveStudies, study_names
from ttl_lightning.data.readers.studies import StudyFiles, find_studies
from ttl_lightning.data.samples import Samples, listed
from ttl_lightning.data.tables.table import TableOptions, as_columns
from ttl_lightning.data.tables.text import Table, read_header, read_table
from ttl_lightning.data.views.windows import Integers
from ttl_lightning.data.volume_module import VolumeDataModule, VolumeOptions
from ttl_lightning.data.volume_store import VolumeReader
from ttl_lightning.errors import DataError, UnknownNameError

LABELS, ABNORMAL_COLUMN = "labels.csv", "abnormal_slices"
"""The table beside the studies, and a column that is used where it exists, unless named."""

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")

Range = tuple[int, int]
"""First and last slice."""


class VolumesDataModule(VolumeDataModule):
    """Studies below a folder or in an archive, listed in a .csv file with a header.

    One label column holds class names or numbers; several hold 0 or 1 each (multilabel).

    Args:
        path: a folder with studies, as `find_studies` finds them, or an archive of them.
        labels: the .csv file; by default labels.csv in the folder or beside the archive.
        study_column: with the studies' names: as `find_studies` or `study_names` gives them.
        label_columns: with the labels.
        split_column: with train, val or test; by default "split" where there is such a column.
        patient_column: whom a study shows; by default "patient_id" where there is such a column.
        abnormal_column: slices that show what is looked for, counted from 0 in the reader's order,
            such as "12-20 25"; by default "abnormal_slices" where there is such a column.
        classes: for one label column, the classes in the order of their numbers; by default sorted.
        val_fraction: of the studies, or of the training studies where only some splits are given.
        test_fraction: likewise.
        missing: what a label is that is not known, and
        uncertain: what one of -1 is; see `TableOptions`.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such file or folder.
    """

    places: ClassVar[tuple[str, ...]] = ("path", "labels")

    def __init__(
        self,
        *,
        name: str = "volumes",
        on_duplicate: str = "raise",
        path: str | Path | None = None,
        labels: str | Path | None = None,
        study_column: str = "study",
        label_columns: Sequence[str] | str = ("label",),
        split_column: str | None = None,
        patient_column: str | None = None,
        abnormal_column: str | None = None,
        classes: Sequence[str] | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        missing: str = "error",
        uncertain: str = "error",
        **common: Unpack[VolumeOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **common)
        self.path = existing_path(path)
        if self.path.is_file() and self.path.suffix.lower() not in ARCHIVES:
            raise UnknownNameError("data.path, neither a folder nor", self.path.name, ARCHIVES)
        self.labels_path = _labels_path(self.path, labels)
        if not self.labels_path.is_file():
            raise DataError(
                f"data.labels: no such file: {self.labels_path}; it must be a .csv file that lists "
                "the studies and their labels."
            )
        self.study_column, self.abnormal_column = study_column, abnormal_column
        self.table_options = TableOptions(
            as_columns(label_columns),
            split_column,
            patient_column,
            classes,
            val_fraction,
            test_fraction,
            missing,
            uncertain,
        )
        others = {"study_column": study_column, "abnormal_column": abnormal_column}
        self.table_options.check(read_header(self.labels_path), others, self.labels_path)
        self._studies: list[str] = []
        self._ranges: list[list[Range]] | None = None

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

    def load(self) -> tuple[Samples, VolumeReader]:
        """Find the studies and read the table.

        Raises:
            DataError: naming the row and column, or the studies, that are not as they should be.
        """
        table, left_out = self.table_options.usable(read_table(self.labels_path))
        self._studies = table.filled(self.study_column)
        samples, notes = self.table_options.samples(table, self._studies, self.seed)
        self._ranges = self._abnormal_ranges(table)
        if samples.task != "multilabel":
            chosen = self.table_options.classes is not None
            self.note_positive(samples.class_names, chosen=chosen)
        self.notes += left_out + notes
        if self.path.is_dir():
            found = find_studies(self.path)
            self._check_found(list(found))
            return samples, StudyFiles([found[name] for name in self._studies])
        self._check_found(study_names(self.path))
        return samples, ArchiveStudies(self.path, self._studies)

    def abnormal_slices(self, row: int, count: int) -> Integers | None:
        """Slices that the table names, ascending; None where it has no column for them.

        Raises:
            DataError: naming the study, if it has fewer slices.
        """
        if self._ranges is None:
            return None
        ranges = self._ranges[row]
        beyond = [last for _, last in ranges if last >= count]
        if beyond:
            raise DataError(
                f"{self.labels_path}: study {self._studies[row]!r} has slices 0 to {count - 1}, "
                f"so slice {beyond[0]} cannot be abnormal."
            )
        slices = [np.arange(first, last + 1) for first, last in ranges]
        return np.unique(np.concatenate([np.empty(0, np.int64), *slices]))

    def _check_found(self, found: Sequence[str]) -> None:
        """Demand that every study of the table exists; note those that it does not list."""
        missing = sorted(set(self._studies) - set(found))
        if missing:
            raise DataError(
                f"{self.labels_path} lists studies that {self.path} does not have: "
                f"{listed(missing)}. It has {listed(found)}."
            )
        unlisted = sorted(set(found) - set(self._studies))
        if unlisted:
            self.notes.append(
                f"{len(unlisted)} studies of {self.path} are left out, because "
                f"{self.labels_path.name} does not list them: {listed(unlisted)}."
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

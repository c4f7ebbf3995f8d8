"""data=rspect, penet and radfusion: CT of pulmonary embolism, with slices that show it if known.

Source: Colak et al., "The RSNA Pulmonary Embolism CT Dataset", Radiology: AI 3 (2021); Huang et
    al., "PENet", npj Digital Medicine 3 (2020), with the layout of its published code; Zhou et al.,
    "RadFusion", arXiv:2111.11665.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ttl_lightning.data.readers.archive import ARRAY, ArchiveStudies, study_names
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.dicom_series import slice_files
from ttl_lightning.data.readers.studies import StudyFiles
from ttl_lightning.data.samples import Integers, listed
from ttl_lightning.data.sources.published import (
    ID,
    LABEL,
    PATIENT_COLUMN,
    SPLIT_COLUMN,
    Abnormal,
    Published,
    PublishedSource,
    by_stem,
    demand,
    made_table,
    table_in,
)
from ttl_lightning.data.tables.labels import yes_or_no
from ttl_lightning.data.tables.text import Columns, Table, read_table
from ttl_lightning.data.window_options import AbnormalView
from ttl_lightning.errors import DataError

CLASSES = ("negative", "embolism")
RSPECT_LAYOUT = "train.csv beside train/STUDY/SERIES/SLICE.dcm, as of the RSNA-STR challenge"
PENET_LAYOUT = "slice_list.txt beside data.hdf5, as PENet's scripts make them"
RADFUSION_LAYOUT = "Labels.csv with idx, label, split beside 0/IDX.npy to 7/IDX.npy, of RadFusion"
STUDY, SERIES, SLICE = "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"
PRESENT, NEGATIVE, UNSURE = "pe_present_on_image", "negative_exam_for_pe", "indeterminate"


@dataclass(frozen=True, kw_only=True)
class RspectSource(PublishedSource):
    """Studies of one series each, from a table with a row a slice.

    A study shows an embolism unless the exam is negative for it; those that are indeterminate are
    left out and counted. No table says whom a study shows, and there is one study a patient.
    """

    view = AbnormalView
    defaults: ClassVar[Mapping[str, Any]] = {"cache": "disk"}

    name: str = "rspect"

    def published(self, root: Path) -> Published:
        """Studies of `train.csv`, with the slices that show the embolism."""
        table = read_table(table_in(root, ("train.csv",), RSPECT_LAYOUT))
        demand(table, (STUDY, SERIES, SLICE, PRESENT, NEGATIVE, UNSURE))
        columns = table.columns
        first: dict[str, int] = {}
        shown: defaultdict[str, list[str]] = defaultdict(list)
        for row, study in enumerate(columns[STUDY]):
            first.setdefault(study, row)
            if _yes(table, row, PRESENT):
                shown[study].append(columns[SLICE][row])
        unsure = [study for study, row in first.items() if _yes(table, row, UNSURE)]
        rows = {study: row for study, row in first.items() if study not in set(unsure)}
        made = {
            ID: list(rows),
            LABEL: [CLASSES[not _yes(table, row, NEGATIVE)] for row in rows.values()],
            PATIENT_COLUMN: list(rows),
            "slices": [" ".join(shown[study]) for study in rows],
        }
        files = [root_of(table) / study / columns[SERIES][row] for study, row in rows.items()]
        notes = (f"{len(unsure)} of {len(first)} studies are indeterminate and left out.",)
        whole = made_table(table, list(rows.values()), made)
        return Published(whole, files, (LABEL,), CLASSES, {}, notes)

    def reader(self, found: Published) -> Reader:
        """A folder a study."""
        return StudyFiles(list(found.files))

    def abnormal(self, found: Published) -> Abnormal:
        """Which slices show the embolism, in the reader's order."""
        names = [text.split() for text in found.table.columns["slices"]]

        def slices(row: int, count: int) -> Integers:
            del count
            if not names[row]:
                return np.empty(0, np.int64)
            order = {path.stem: place for place, path in enumerate(slice_files(found.files[row]))}
            lost = [name for name in names[row] if name not in order]
            if lost:
                raise DataError(f"{found.files[row]} has no slice {listed(lost)}.")
            return np.array(sorted(order[name] for name in names[row]), np.int64)

        return slices


def root_of(table: Table) -> Path:
    """The folder of the studies, which is beside the table."""
    return table.path.parent / "train"


def _yes(table: Table, row: int, column: str) -> bool:
    found = yes_or_no(table.columns[column][row])
    if found is None:
        raise table.error(row, column, "0 or 1")
    return found == 1


@dataclass(frozen=True, kw_only=True)
class PenetSource(PublishedSource):
    """Studies of an HDF5 file, from PENet's list: number, thickness, label, slices, phase, type.

    The phase is the split. What follows a line's colon are the slices that show the embolism,
    counted from 1.
    """

    view = AbnormalView
    defaults: ClassVar[Mapping[str, Any]] = {"cache": "disk"}

    name: str = "penet"

    def published(self, root: Path) -> Published:
        """The lines of `slice_list.txt`."""
        path = table_in(root, ("slice_list.txt",), PENET_LAYOUT)
        archive = table_in(root, ("data.hdf5", "data.h5"), PENET_LAYOUT)
        columns: dict[str, list[str]] = {
            key: [] for key in (ID, LABEL, PATIENT_COLUMN, SPLIT_COLUMN, "slices")
        }
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        numbers = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            head, _, slices = line.partition(":")
            parts = [part.strip() for part in head.split(",")]
            if len(parts) < 6 or parts[2] not in ("0", "1"):
                raise DataError(
                    f"{path}, line {number}: expected number, thickness, label, slices, phase, "
                    f"type, got {line[:60]!r}."
                )
            numbers.append(number)
            columns[ID].append(parts[0])
            columns[PATIENT_COLUMN].append(parts[0])
            columns[LABEL].append(CLASSES[parts[2] == "1"])
            columns[SPLIT_COLUMN].append(parts[4])
            columns["slices"].append(slices.replace(",", " ").strip())
        if not numbers:
            raise DataError(f"{path} lists no studies.")
        missing = sorted(set(columns[ID]) - set(study_names(archive)))
        if missing:
            raise DataError(
                f"{path} lists studies that {archive} does not have: {listed(missing)}."
            )
        table = Table(path, Columns(columns), numbers)
        return Published(table, [archive] * len(numbers), (LABEL,), CLASSES, {})

    def reader(self, found: Published) -> Reader:
        """A dataset a study."""
        return ArchiveStudies(found.files[0], found.table.columns[ID])

    def abnormal(self, found: Published) -> Abnormal:
        """Which slices show the embolism."""
        shown = [
            np.array([int(number) - 1 for number in text.split()], np.int64)
            for text in found.table.columns["slices"]
        ]
        return lambda row, _: np.sort(shown[row])


@dataclass(frozen=True, kw_only=True)
class RadfusionSource(PublishedSource):
    """PENet's studies as RadFusion publishes them: a .npy file each, with a label of the study.

    Which slices show the embolism is not published: every window has its study's label.
    """

    view = AbnormalView
    defaults: ClassVar[Mapping[str, Any]] = {"cache": "disk"}

    name: str = "radfusion"

    def published(self, root: Path) -> Published:
        """The rows of `Labels.csv`."""
        table = read_table(table_in(root, ("Labels.csv", "labels.csv"), RADFUSION_LAYOUT))
        demand(table, ("idx", "label", "split"))
        there = by_stem(table.path.parent, (ARRAY,))
        names = table.columns["idx"]
        rows = range(len(names))
        made = {
            ID: names,
            LABEL: [CLASSES[_yes(table, row, "label")] for row in rows],
            PATIENT_COLUMN: names,
            SPLIT_COLUMN: table.columns["split"],
        }
        files = [there.get(name, table.path.parent / f"{name}{ARRAY}") for name in names]
        notes = ("No slices are marked, so every window has the label of its study.",)
        return Published(made_table(table, rows, made), files, (LABEL,), CLASSES, {}, notes)

    def reader(self, found: Published) -> Reader:
        """A file a study."""
        return StudyFiles(list(found.files))

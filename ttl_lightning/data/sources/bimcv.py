"""data=bimcv: chest radiographs of patients with COVID-19 and without, BIMCV-COVID19+ and −.

Source: Vayá et al., "BIMCV COVID-19+: a large annotated dataset of RX and CT images from COVID-19
    patients", arXiv 2006.01174; what their tables are called has changed with their iterations.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.bids import BidsImages, projection
from ttl_lightning.data.samples import listed
from ttl_lightning.data.sources.published import (
    ID,
    LABEL,
    PATIENT_COLUMN,
    SPLIT_COLUMN,
    Published,
    PublishedSource,
    demand,
)
from ttl_lightning.data.tables.text import Columns, Table, read_table
from ttl_lightning.errors import ConfigError, DataError, check_choice, check_number

LAYOUT = (
    "the sets' folders with sub-S…/ses-E…/mod-rx/*.png, sub-S…_sessions.tsv and derivatives/labels/"
)
POSITIVE = (
    *("Labels_covid_123.tsv", "labels_covid_posi.tsv", "labels_covid19_posi.tsv"),
    "labels_covid_posi_1_2.tsv",
)
NEGATIVE = ("Labels_covid_NEG_JAN21.tsv", "labels_SARS-cov-2_nega.tsv")
PCR = "sil_reg_covid_posi.tsv"
CLASSES = ("negative", "positive")
VIEWS = ("ap", "pa", "lateral")
LISTS = ("train.csv", "val.csv", "test.csv")

_NAME = re.compile(r"(sub-S\w+?)_(ses-E\w+?)_")


@dataclass(frozen=True)
class _Image:
    path: Path
    patient: str
    session: str
    positive: bool


@dataclass(frozen=True, kw_only=True)
class BimcvSource(PublishedSource):
    """Radiographs of both sets below one folder; all of a patient in one split.

    Attributes:
        views: projections that are taken, of ap, pa and lateral: by the DICOM tags beside an image
            where there are any, else by its name.
        one_per_session: take the first image of a session alone.
        pcr_days: a session of the positive set counts as positive if a test of the patient was
            positive at most so many days before or after it; others are left out. None: any time.
        lists: folder with train.csv, val.csv and test.csv (columns path and label), such as the
            authors' noisy or clean split; images are found by their names. None: drawn by patient.
    """

    places: ClassVar[tuple[str, ...]] = ("path", "lists")

    name: str = "bimcv"
    views: Sequence[str] = ("ap", "pa")
    one_per_session: bool = False
    pcr_days: int | None = None
    lists: str | Path | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        for view in self.views:
            check_choice("data.views", view, VIEWS)
        if not isinstance(self.one_per_session, bool):
            raise ConfigError(
                f"data.one_per_session must be true or false, got {self.one_per_session!r}."
            )
        if self.pcr_days is not None:
            check_number("data.pcr_days", self.pcr_days, 0, 3650, integer=True)
        if self.lists is not None and not Path(self.lists).expanduser().is_dir():
            raise DataError(f"data.lists: no such folder: {self.lists}.")

    def published(self, root: Path) -> Published:
        """The images of both sets that are asked for."""
        sets = {
            positive: _set(root, names) for positive, names in ((True, POSITIVE), (False, NEGATIVE))
        }
        images = [one for positive, table in sets.items() for one in _images(table, positive)]
        notes: list[str] = []
        images = self._of_views(images, notes)
        images = self._tested(images, sets[True], notes)
        if self.one_per_session:
            first = {(one.patient, one.session): one for one in reversed(images)}
            kept = sorted(first.values(), key=lambda one: one.path.name)
            notes.append(f"{len(images) - len(kept)} further images of sessions are left out.")
            images = kept
        if not images:
            raise DataError(f"no image below {root} is left: {' '.join(notes)}")
        if self.lists is not None:
            return self._listed(images, Path(self.lists).expanduser(), notes)
        columns = {
            ID: [one.path.name for one in images],
            LABEL: [CLASSES[one.positive] for one in images],
            PATIENT_COLUMN: [one.patient for one in images],
        }
        table = Table(root, Columns(columns), range(1, len(images) + 1))
        files = [one.path for one in images]
        return Published(table, files, (LABEL,), CLASSES, {}, tuple(notes))

    def reader(self, found: Published) -> Reader:
        """With the window and the inversion that the DICOM tags ask for."""
        return BidsImages(list(found.files), self.max_pixels)

    def _of_views(self, images: list[_Image], notes: list[str]) -> list[_Image]:
        views = [projection(one.path) for one in images]
        kept = [one for one, view in zip(images, views, strict=True) if view in self.views]
        unknown = views.count(None)
        notes.append(
            f"{len(images) - len(kept)} of {len(images)} images are of other views than "
            f"{', '.join(self.views)}, {unknown} of these of none that is said."
        )
        return kept

    def _tested(self, images: list[_Image], positive: Path, notes: list[str]) -> list[_Image]:
        """Without the sessions of the positive set that no positive test stands for."""
        tests = _tests(positive)
        if tests is None:
            notes.append(f"There is no {PCR}: the set says who is positive.")
            return images
        days = _dates(positive, {one.patient for one in images if one.positive})
        kept = [
            one
            for one in images
            if not one.positive
            or _near(tests[one.patient], days.get((one.patient, one.session)), self.pcr_days)
        ]
        within = "" if self.pcr_days is None else f" within {self.pcr_days} days"
        notes.append(
            f"{len(images) - len(kept)} images of the positive set are left out, whose patient has "
            f"no positive PCR test{within}."
        )
        return kept

    def _listed(self, images: list[_Image], folder: Path, notes: list[str]) -> Published:
        """The images that lists name, with their labels and splits."""
        where = {one.path.name: one for one in images}
        columns: dict[str, list[str]] = {k: [] for k in (ID, LABEL, PATIENT_COLUMN, SPLIT_COLUMN)}
        files, lost = [], []
        for name in LISTS:
            table = read_table(folder / name)
            demand(table, ("path", "label"))
            for row, text in enumerate(table.columns["path"]):
                one = where.get(Path(text.replace("\\", "/")).name)
                if one is None:
                    lost.append(text)
                    continue
                label = table.columns["label"][row]
                if label not in ("0", "1"):
                    raise table.error(row, "label", "0 or 1")
                columns[ID].append(one.path.name)
                columns[LABEL].append(CLASSES[int(label)])
                columns[PATIENT_COLUMN].append(one.patient)
                columns[SPLIT_COLUMN].append(name.removesuffix(".csv"))
                files.append(one.path)
        if lost and not self.partial:
            raise DataError(
                f"{folder} lists {len(lost)} images that are not there, or of other views: "
                f"{listed(lost)}. data.partial=true takes the others."
            )
        if lost:
            notes.append(f"{len(lost)} images of {folder} are not there: {listed(lost)}.")
        table = Table(folder, Columns(columns), range(1, len(files) + 1))
        return Published(table, files, (LABEL,), CLASSES, {}, tuple(notes))


def _set(root: Path, names: Sequence[str]) -> Path:
    """The folder of the set whose labels are called so.

    Raises:
        DataError: if there is none, or more than one.
    """
    found = sorted({path for name in names for path in root.rglob(name) if path.is_file()})
    if not found:
        raise DataError(f"data.path: no {' or '.join(names)} below {root}; expected: {LAYOUT}.")
    folders = sorted({path.parents[2] for path in found if len(path.parents) > 2})
    if len(folders) > 1:
        raise DataError(f"the set of {names[0]} is there twice: {folders[0]}, {folders[1]}.")
    if found[0].parent.name != "labels" or found[0].parents[1].name != "derivatives":
        raise DataError(f"{found[0]} does not lie in derivatives/labels/; expected: {LAYOUT}.")
    return folders[0]


def _images(folder: Path, positive: bool) -> list[_Image]:  # noqa: FBT001 - which set it is
    found = []
    for path in sorted(folder.glob("sub-*/ses-*/mod-rx/*.png")):
        match = _NAME.match(path.name)
        if match is None:
            raise DataError(f"{path} is not named as in sub-S03044_ses-E06192_run-1_bp-chest_….")
        found.append(_Image(path, match[1], match[2], positive))
    if not found:
        raise DataError(f"no images sub-*/ses-*/mod-rx/*.png below {folder}; expected: {LAYOUT}.")
    return found


def _tests(folder: Path) -> defaultdict[str, list[date]] | None:
    """Days of positive tests, by patient; None where there is no table of tests."""
    found = sorted(folder.rglob(PCR))
    if not found:
        return None
    table = read_table(found[0])
    demand(table, ("participant", "date", "result"))
    days: defaultdict[str, list[date]] = defaultdict(list)
    for row, result in enumerate(table.columns["result"]):
        if result.strip().upper().startswith("POSI"):
            patient = table.columns["participant"][row]
            days[patient].append(_day(table, row, "date", ("%d.%m.%Y", "%Y-%m-%d")))
    return days


def _dates(folder: Path, patients: set[str]) -> dict[tuple[str, str], date]:
    """Days of the patients' sessions, where their tables say them."""
    found = {}
    for patient in sorted(patients):
        path = folder / patient / f"{patient}_sessions.tsv"
        if not path.is_file():
            continue
        table = read_table(path)
        demand(table, ("session_id", "study_date"))
        for row, session in enumerate(table.columns["session_id"]):
            found[patient, session] = _day(table, row, "study_date", ("%Y%m%d", "%Y-%m-%d"))
    return found


def _day(table: Table, row: int, column: str, formats: Sequence[str]) -> date:
    text = table.columns[column][row]
    for one in formats:
        try:
            return datetime.strptime(text, one).date()
        except ValueError:
            continue
    raise table.error(row, column, f"a day such as {date(2020, 3, 31).strftime(formats[0])}")


def _near(tests: Sequence[date], day: date | None, days: int | None) -> bool:
    if days is None or day is None:
        return bool(tests)
    return any(abs(test - day) <= timedelta(days=days) for test in tests)

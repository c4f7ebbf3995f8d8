"""data=chexpert: chest radiographs with 14 observations, of which several may hold.

Source: Irvin et al., "CheXpert: a large chest radiograph dataset with uncertainty labels and expert
    comparison", AAAI 2019; the groups are those of the TruncatedTL paper's Table 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ttl_lightning.data.sources.published import (
    ID,
    PATIENT_COLUMN,
    SPLIT_COLUMN,
    Published,
    PublishedSource,
    demand,
    made_table,
    table_in,
)
from ttl_lightning.data.tables.labels import as_written_once, is_missing
from ttl_lightning.data.tables.text import Table, read_table
from ttl_lightning.errors import ConfigError, DataError, check_choice

LAYOUT = "train.csv and valid.csv beside train/ and valid/, as in CheXpert-v1.0-small/"
LOW = (
    *("Lung Opacity", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pleural Effusion"),
    "Pleural Other",
)
HIGH = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Pneumothorax"),
    *("Fracture", "Support Devices"),
)
OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
GROUPS = {"all": OBSERVATIONS, "low": LOW, "high": HIGH}
UNCERTAIN = {"ones": "1", "zeros": "0", "ignore": ""}
IMAGES = {"train": 223_414, "valid": 234}
"""Published radiographs by table."""

_PATIENT = re.compile(r"patient(\d+)")
_SPLITS = {"train": "train", "valid": "test"}


@dataclass(frozen=True, kw_only=True)
class ChexpertSource(PublishedSource):
    """The two tables as published; `valid.csv`, which radiologists labelled, is the test split.

    Validation is drawn from the training patients. A blank is no, as everywhere in the literature.

    Attributes:
        observations: "all" 14, or the paper's groups of "low"- and "high"-level features.
        uncertain: what -1 is: "ones", "zeros", or "ignore", which counts in no loss and no metric;
            or one of these by observation, the others being ones.
        frontal: take frontal views alone.
    """

    name: str = "chexpert"
    observations: str = "all"
    uncertain: str | Mapping[str, str] = "ones"
    frontal: bool = False

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        check_choice("data.observations", self.observations, GROUPS)
        if not isinstance(self.frontal, bool):
            raise ConfigError(f"data.frontal must be true or false, got {self.frontal!r}.")
        if isinstance(self.uncertain, Mapping):
            for name, choice in self.uncertain.items():
                check_choice("observation in data.uncertain", name, OBSERVATIONS)
                check_choice(f"data.uncertain of {name}", choice, UNCERTAIN)
        else:
            check_choice("data.uncertain", self.uncertain, UNCERTAIN)

    def published(self, root: Path) -> Published:
        """The rows of both tables."""
        names = GROUPS[self.observations]
        columns: dict[str, list[str]] = {
            key: [] for key in (ID, *names, PATIENT_COLUMN, SPLIT_COLUMN)
        }
        files: list[Path] = []
        notes: list[str] = []
        table: Table | None = None
        for part in _SPLITS:
            table = read_table(table_in(root, (f"{part}.csv",), LAYOUT))
            demand(table, ("Path", "Frontal/Lateral", *OBSERVATIONS))
            rows = self._rows(table)
            notes.append(f"{part}.csv lists {len(table)} of {IMAGES[part]} radiographs.")
            if len(rows) < len(table):
                notes.append(f"{len(table) - len(rows)} lateral views of {part}.csv are left out.")
            for row in rows:
                path = PurePosixPath(table.columns["Path"][row])
                columns[ID].append(path.as_posix())
                columns[PATIENT_COLUMN].append(_patient(table, row))
                columns[SPLIT_COLUMN].append(_SPLITS[part])
                files.append(table.path.parent.joinpath(*path.parts[1:]))
            for name in names:
                columns[name] += self._values(table, name, rows)
        assert table is not None
        whole = made_table(table, [0] * len(files), columns)
        return Published(whole, files, names, None, {}, tuple(notes))

    def _rows(self, table: Table) -> list[int]:
        views = table.columns["Frontal/Lateral"]
        return [row for row, view in enumerate(views) if not self.frontal or view == "Frontal"]

    def _values(self, table: Table, name: str, rows: list[int]) -> list[str]:
        """1, 0, or nothing where it shall not count."""
        given = self.uncertain
        uncertain = given.get(name, "ones") if isinstance(given, Mapping) else given
        meaning = {"1": "1", "0": "0", "-1": UNCERTAIN[uncertain]}
        texts = table.columns[name]
        found = []
        for row in rows:
            text = "0" if is_missing(texts[row]) else as_written_once(texts[row])
            if text not in meaning:
                raise table.error(row, name, "1.0, 0.0, -1.0 or nothing")
            found.append(meaning[text])
        return found


def _patient(table: Table, row: int) -> str:
    match = _PATIENT.search(table.columns["Path"][row])
    if match is None:
        raise DataError(
            f"{table.path}, row {table.numbers[row]}: {table.columns['Path'][row]!r} names no "
            "patient, as in train/patient00001/study1/view1_frontal.jpg."
        )
    return match[1]

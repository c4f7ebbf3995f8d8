"""data=covid_chestxray: chest radiographs of COVID-19 and other diseases, from publications.

Source: Cohen et al., "COVID-19 image data collection: prospective predictions are the future",
    MELBA 2020; github.com/ieee8023/covid-chestxray-dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ttl_lightning.data.sources.published import (
    ID,
    LABEL,
    PATIENT_COLUMN,
    Published,
    PublishedSource,
    demand,
    made_table,
    table_in,
)
from ttl_lightning.data.tables.text import read_table
from ttl_lightning.errors import check_choice

LAYOUT = "metadata.csv beside images/, as in the repository covid-chestxray-dataset"
VIEWS = ("PA", "AP", "AP Supine", "AP Erect", "L")
CLASSES = ("other", "covid19")
UNKNOWN = ("todo", "unknown")


@dataclass(frozen=True, kw_only=True)
class CovidChestXraySource(PublishedSource):
    """Radiographs of the views asked for; what is looked for is COVID-19 among the findings.

    CT slices, other views, and rows whose finding nobody has written down are left out and counted.

    Attributes:
        views: of the column `view`.
    """

    name: str = "covid_chestxray"
    views: Sequence[str] = ("PA", "AP", "AP Supine", "AP Erect")

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        for view in self.views:
            check_choice("data.views", view, VIEWS)

    def published(self, root: Path) -> Published:
        """The rows of the metadata that are radiographs of these views."""
        table = read_table(table_in(root, ("metadata.csv",), LAYOUT))
        demand(table, ("patientid", "finding", "view", "modality", "folder", "filename"))
        columns = table.columns
        told = [f.strip().lower() not in UNKNOWN for f in columns["finding"]]
        seen = [v in self.views for v in columns["view"]]
        x_ray = [m.strip().lower() == "x-ray" for m in columns["modality"]]
        rows = [row for row in range(len(table)) if told[row] and seen[row] and x_ray[row]]
        notes = (
            f"{len(rows)} of {len(table)} rows are used: {x_ray.count(False)} are no radiographs, "
            f"{seen.count(False)} are of other views than {', '.join(self.views)}, "
            f"{told.count(False)} have no finding.",
        )
        names = [columns["filename"][row] for row in rows]
        made = {
            ID: names,
            LABEL: [CLASSES[_is_covid(columns["finding"][row])] for row in rows],
            PATIENT_COLUMN: [columns["patientid"][row] for row in rows],
        }
        files = [table.path.parent / (columns["folder"][row] or "images") / n
                 for row, n in zip(rows, names, strict=True)]  # fmt: skip
        return Published(made_table(table, rows, made), files, (LABEL,), CLASSES, {}, notes)


def _is_covid(finding: str) -> bool:
    """`Pneumonia/Viral/COVID-19`, or in older releases `COVID-19` and `COVID-19, ARDS`."""
    parts = [part.strip() for part in finding.replace(",", "/").split("/")]
    return "COVID-19" in parts

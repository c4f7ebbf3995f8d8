"""data=ham10000: dermatoscopic pictures of seven kinds of pigmented lesions.

Source: Tschandl, Rosendahl and Kittler, "The HAM10000 dataset", Scientific Data 5 (2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ttl_lightning.data.sources.published import (
    ID,
    LABEL,
    PATIENT_COLUMN,
    Published,
    PublishedSource,
    by_stem,
    demand,
    made_table,
    table_in,
)
from ttl_lightning.data.tables.text import read_table

TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
LAYOUT = "HAM10000_metadata.csv, and ISIC_….jpg in HAM10000_images_part_1/ and _part_2/"
COUNTS = {
    "mel": 1113, "nv": 6705, "bcc": 514, "akiec": 327, "bkl": 1099, "df": 115, "vasc": 142,
}  # fmt: skip
"""Published pictures by class, in the order of the ISIC challenge of 2018."""


@dataclass(frozen=True, kw_only=True)
class Ham10000Source(PublishedSource):
    """Pictures by their name, wherever they lie below the path; all of a lesion in one split.

    Classes are melanoma (mel), naevi (nv), basal cell carcinoma (bcc), actinic keratoses (akiec),
    benign keratoses (bkl), dermatofibroma (df) and vascular lesions (vasc).
    """

    name: str = "ham10000"

    def published(self, root: Path) -> Published:
        """The metadata's rows; one lesion may have several pictures."""
        table = read_table(table_in(root, TABLES, LAYOUT))
        demand(table, ("lesion_id", "image_id", "dx"))
        names = table.filled("image_id")
        images = by_stem(root, (".jpg", ".jpeg", ".png"))
        columns = {ID: names, LABEL: table.filled("dx"), PATIENT_COLUMN: table.filled("lesion_id")}
        return Published(
            made_table(table, range(len(table)), columns),
            [images.get(name, root / f"{name}.jpg") for name in names],
            (LABEL,),
            tuple(COUNTS),
            COUNTS,
        )

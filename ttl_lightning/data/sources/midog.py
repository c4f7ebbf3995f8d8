"""data=midog: patches about mitotic figures, and about cells that look like them.

Source: Aubreville et al., "A comprehensive multi-domain dataset for mitotic figure detection",
    Scientific Data 10 (2023) (MIDOG++), and the MIDOG challenges of 2021 and 2022.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.slides import SlidePatches
from ttl_lightning.data.sources.published import (
    ID,
    LABEL,
    PATIENT_COLUMN,
    Published,
    PublishedSource,
    table_in,
)
from ttl_lightning.data.tables.text import Columns, Table
from ttl_lightning.errors import DataError, check_number

LAYOUT = "MIDOG.json (MIDOG++.json) and 001.tiff, 002.tiff, … beside it or in a folder"
TABLES = ("MIDOG++.json", "MIDOG.json", "MIDOG2021.json", "MIDOG2022_training.json")
CLASSES = ("imposter", "mitotic figure")
MITOTIC = 1
UNLABELLED = range(151, 201)
"""Cases of a scanner whose slides nobody has looked at: no box there says nothing."""
COUNTS = {503: (14_349, 11_937), 354: (11_051, 9_501), 150: (2_714, 1_721)}
"""Published imposters and figures, by the number of slides that are labelled."""


@dataclass(frozen=True, kw_only=True)
class MidogSource(PublishedSource):
    """Patches whose middle is that of a box; all of a slide in one split.

    Boxes are corners `[x1, y1, x2, y2]`, not COCO's `[x, y, width, height]`. Slides 151 to 200
    without a box are not labelled: they are left out and counted.

    Attributes:
        patch: height and width of what is cut, in the slide's pixels; what lies beyond its edge is
            mirrored.
    """

    name: str = "midog"
    patch: int = 64

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        check_number("data.patch", self.patch, 8, 4096, integer=True)

    def published(self, root: Path) -> Published:
        """The boxes of the JSON file."""
        path = table_in(root, TABLES, LAYOUT)
        slides, boxes = _read(path)
        labelled = {box["image_id"] for box in boxes}
        unseen = [n for n in slides if n not in labelled and n in UNLABELLED]
        rows = sorted(boxes, key=lambda box: (slides[box["image_id"]], box["id"]))
        names = [slides[box["image_id"]] for box in rows]
        columns = {
            ID: [f"{Path(n).stem}/{box['id']}" for n, box in zip(names, rows, strict=True)],
            LABEL: [CLASSES[box["category_id"] == MITOTIC] for box in rows],
            PATIENT_COLUMN: [Path(name).stem for name in names],
            "middle": [_middle(path, box) for box in rows],
        }
        where = {p.name: p for p in sorted(root.rglob("*.tif*"))}
        notes = (
            f"{len(unseen)} slides (cases 151 to 200) are not labelled and left out.",
            f"{len(slides) - len(labelled) - len(unseen)} other slides have no box.",
        )
        counts = dict(zip(CLASSES, COUNTS.get(len(labelled), ()), strict=False))
        return Published(
            Table(path, Columns(columns), range(1, len(rows) + 1)),
            [where.get(name, root / name) for name in names],
            (LABEL,),
            CLASSES,
            counts,
            notes,
        )

    def reader(self, found: Published) -> Reader:
        """Patches, of which those of a slide are cut while it is open."""
        middles = [text.split() for text in found.table.columns["middle"]]
        return SlidePatches(found.files, [(int(x), int(y)) for x, y in middles], self.patch)


def _read(path: Path) -> tuple[dict[int, str], list[dict[str, Any]]]:
    """Slides' file names by their ids, and the boxes.

    Raises:
        DataError: if it is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        slides = {int(one["id"]): str(one["file_name"]) for one in content["images"]}
        boxes = [dict(one) for one in content["annotations"]]
        needed = {key for box in boxes for key in ("bbox", "category_id", "image_id", "id")
                  if key not in box}  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{path} is not MIDOG's: {type(error).__name__} {error}.") from error
    if needed or not boxes:
        lack = f"boxes lack {', '.join(sorted(needed))}" if needed else "it has no boxes"
        raise DataError(f"{path} is not MIDOG's: {lack}.")
    strange = [box["category_id"] for box in boxes if box["category_id"] not in (1, 2)]
    if strange:
        raise DataError(
            f"{path}: categories are 1 (mitotic figure) and 2 (imposter), got {strange[0]}."
        )
    lost = [box["image_id"] for box in boxes if box["image_id"] not in slides]
    if lost:
        raise DataError(f"{path}: a box is of slide {lost[0]}, which is not listed.")
    return slides, boxes


def _middle(path: Path, box: dict[str, Any]) -> str:
    """Of a box of corners, in whole pixels.

    Raises:
        DataError: if it is none, as one of x, y, width and height is not.
    """
    corners = box["bbox"]
    if len(corners) != 4 or not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise DataError(
            f"{path}: box {box['id']} is {corners}, expected corners [x1, y1, x2, y2] with x1 < x2 "
            "and y1 < y2."
        )
    x1, y1, x2, y2 = (float(corner) for corner in corners)
    return f"{round((x1 + x2) / 2)} {round((y1 + y2) / 2)}"

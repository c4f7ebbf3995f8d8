"""What an analysis found, and how it is written into the run's folder."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ttl_lightning.records.files import finite, write_atomically

DPI = 120


@dataclass(frozen=True, slots=True)
class Findings:
    """What an analysis found.

    Attributes:
        headline: one sentence for people.
        rows: of the table, each a value a column; None where undefined.
        content: what the JSON file has besides headline and rows, in plain values.
        figures: by name; "" for the only one.
    """

    headline: str
    rows: list[dict[str, Any]]
    content: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)

    def write(self, place: Path) -> list[Path]:
        """Write `<place>.json`, `<place>.csv` and the figures.

        Returns:
            The files.
        """
        whole = finite({"headline": self.headline, **self.content, "rows": self.rows})
        text = json.dumps(whole, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        files = {place.with_suffix(".json"): text.encode()}
        if self.rows:
            files[place.with_suffix(".csv")] = _table(self.rows).encode()
        for name, figure in self.figures.items():
            picture = io.BytesIO()
            figure.savefig(picture, format="png", dpi=DPI)
            suffix = f"_{name}" if name else ""
            files[place.with_name(f"{place.name}{suffix}.png")] = picture.getvalue()
        for path, content in files.items():
            write_atomically(path, content)
        return list(files)


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

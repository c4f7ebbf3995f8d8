"""What an analysis found, and how it is written into the run's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ttl_lightning.records.files import csv_text, json_text, write_atomically
from ttl_lightning.tasks.pictures import files


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
        text = json_text({"headline": self.headline, **self.content, "rows": self.rows})
        found = {place.with_suffix(".json"): text.encode()}
        if self.rows:
            rows = (row.values() for row in self.rows)
            found[place.with_suffix(".csv")] = csv_text(self.rows[0], rows).encode()
        for name, kind, content in files(self.figures):
            suffix = f"_{name}" if name else ""
            found[place.with_name(f"{place.name}{suffix}.{kind}")] = content
        for path, content in found.items():
            write_atomically(path, content)
        return list(found)

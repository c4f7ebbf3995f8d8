"""What a split's predictions came to, of any task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scores:
    """Metric values, None where undefined, and for each None the reason."""

    values: dict[str, float | None]
    notes: dict[str, str]

"""Numbers and names as people read them, the same in the page, the tables and the terminal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

MINUS = "−"
NONE = "–"


def number(value: object) -> float | None:
    """A finite number, or None for whatever else a file may hold in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def cell(value: object) -> object:
    """A value for a .csv file: no text that a spreadsheet would take for a formula.

    >>> cell("=1+1"), cell("-x"), cell(-1.5), cell("a=b")
    ("'=1+1", "'-x", -1.5, 'a=b')
    """
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation; `–` for what is undefined."""
    if not values:
        return NONE
    deviation = f"{statistics.stdev(values):.3f}" if len(values) > 1 else NONE
    return f"{statistics.fmean(values):.3f} ± {deviation}"


def amount(value: float | None) -> str:
    """Three digits and a unit of counting: `55.6 k`, `3.37 M`, `4.12 G`."""
    if value is None:
        return NONE
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit * 0.9995:
            return f"{_three_digits(value / limit)}{unit}"
    return f"{value:.0f}"


def percent(value: float | None) -> str:
    """Of a ratio: `31 %`, `–` for what is unknown."""
    return share(value, 1.0) or NONE


def milliseconds(value: float | None) -> str:
    """Two decimals below 10 ms, three digits above."""
    return NONE if value is None else _three_digits(value)


def signed(value: float) -> str:
    """Three decimals and the sign; what rounds to zero has none."""
    text = f"{abs(value):.3f}"
    if not float(text):
        return text
    return f"{MINUS if value < 0 else '+'}{text}"


def p_value(value: float) -> str:
    """`p = 0.034`, or `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def share(part: float | None, whole: float | None) -> str | None:
    """A part in percent of the whole; None where either is unknown or the whole is nothing."""
    if part is None or not whole:
        return None
    percent = 100 * part / whole
    return f"{percent:.{0 if percent >= 9.95 else 1 if percent >= 0.1 else 3}f} %"


def count(things: int, name: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{things} {name}{'' if things == 1 else 's'}"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"

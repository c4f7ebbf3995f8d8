"""What a label written as text means: classes, numbers, what is missing and what is uncertain."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.samples import check_classes, listed
from ttl_lightning.errors import DataError

# pandas' own list of what stands for nothing in a table
MISSING = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
UNCERTAIN = "-1"
"""Neither yes nor no, as CheXpert's labeller writes it."""
SEVERAL = "|"
"""Between the labels of one image, as ChestX-ray14 writes them."""

_INTEGER = re.compile(r"([+-]?)0*(\d+)(\.0*)?")
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?")
_YES_NO = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0, "no": 0.0, "yes": 1.0}


def is_missing(text: str) -> bool:
    """Whether a field says that nothing is known."""
    return text in MISSING


def fold(text: str) -> str:
    """A name without what people do not mean by it: case and blanks.

    >>> fold(" Pleural  Effusion ") == fold("pleural effusion")
    True
    """
    return " ".join(text.split()).casefold()


def as_written_once(text: str) -> str:
    """A whole number in one way of writing it; other text as `fold` has it.

    >>> as_written_once("047.0"), as_written_once("+3"), as_written_once("-0"), as_written_once("A")
    ('47', '3', '0', 'a')
    """
    number = _INTEGER.fullmatch(text.strip())
    if number is None:
        return fold(text)
    return ("-" if number[1] == "-" and number[2] != "0" else "") + number[2]


def unified(texts: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Each text in its commonest spelling.

    Returns:
        The texts, and by spelling the others that it stands for.
    """
    spellings: dict[str, Counter[str]] = {}
    for text in texts:
        spellings.setdefault(as_written_once(text), Counter())[text] += 1
    numeric = all(_INTEGER.fullmatch(text) for text in texts)
    chosen = {
        key: key if numeric else min(found, key=lambda text: (-found[text], text))
        for key, found in spellings.items()
    }
    merged = {
        chosen[key]: sorted(set(found) - {chosen[key]})
        for key, found in spellings.items()
        if len(found) > 1
    }
    return [chosen[as_written_once(text)] for text in texts], merged


def encode_classes(
    values: Sequence[str], classes: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class numbers (n,) and class names of labels written as text.

    Args:
        values: one label an image; spellings that differ in case, blanks or the format of a whole
            number are one label.
        classes: the names in their order; by default the labels found, sorted (as numbers where all
            of them are).

    Raises:
        DataError: if a label is not among `classes`, there are fewer than two classes, or the
            labels are measurements.
    """
    spelt, _ = unified(values)
    found = dict.fromkeys(spelt)
    names = tuple(str(name) for name in classes) if classes is not None else _sorted_names(found)
    number = {as_written_once(name): i for i, name in enumerate(names)}
    if classes is not None and len(number) < len(names):
        raise DataError(f"at least two classes, each once, are needed; got {listed(names)}.")
    strange = sorted(name for name in found if as_written_once(name) not in number)
    if strange:
        raise DataError(
            f"data.classes gives {len(names)} classes ({', '.join(names)}), "
            f"but the labels hold {len(found)}: {listed(strange)} not among them."
        )
    if classes is None:
        _check_no_measurement(found)
    check_classes(names)
    return np.array([number[as_written_once(value)] for value in values], np.int64), names


def encode_several(values: Sequence[str]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Labels (n, L) of fields that hold several, such as `Edema|Effusion`, and their names."""
    parts = [[part.strip() for part in value.split(SEVERAL) if part.strip()] for value in values]
    spelt, _ = unified([part for row in parts for part in row])
    names = _sorted_names(dict.fromkeys(spelt))
    number = {as_written_once(name): i for i, name in enumerate(names)}
    labels = np.zeros((len(parts), len(names)), np.float32)
    for row, found in enumerate(parts):
        labels[row, [number[as_written_once(part)] for part in found]] = 1
    return labels, names


def yes_or_no(text: str) -> float | None:
    """1.0 or 0.0 of a field that says so; None for any other.

    >>> [yes_or_no(text) for text in ("1.0", "0", "TRUE", "no", "2")]
    [1.0, 0.0, 1.0, 0.0, None]
    """
    return _YES_NO.get(as_written_once(text))


def number_of(text: str) -> float | None:
    """A finite number; None of a field that holds none.

    >>> [number_of(text) for text in (" 47.5", "-1e2", "1_0", "inf", "")]
    [47.5, -100.0, None, None, None]
    """
    if not _DECIMAL.fullmatch(text.strip()):
        return None
    found = float(text)
    return found if math.isfinite(found) else None


def _check_no_measurement(names: Iterable[str]) -> None:
    found = list(names)
    if not all(_DECIMAL.fullmatch(name) for name in found):
        return
    decimals = [name for name in found if not _INTEGER.fullmatch(name)]
    if decimals:
        raise DataError(
            f"the labels are {len(found)} numbers with decimals ({listed(sorted(decimals), 3)}): "
            "measurements, not classes. If they are classes, data.classes lists them."
        )


def _sorted_names(found: Iterable[str]) -> tuple[str, ...]:
    names = list(found)
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))

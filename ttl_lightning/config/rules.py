"""Kinds of values that a key may take: what help says of each, and the one line for all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ttl_lightning.errors import ConfigError, check_choice, check_number

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
PRECISIONS = (
    *("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"),
    *("transformer-engine", "transformer-engine-float16", "32", "bf16", "16", "64"),
)
MOST_DEVICES = 4096
MOST_EPOCHS = 1_000_000
MOST_THREADS = 4096
MOST_BYTES_OF_NAME = 200
"""What file systems allow is 255, of which a search's folders add some."""

Check = Callable[[str, Any], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key may hold, as help says it, and what raises ConfigError for all else."""

    allowed: str
    check: Check

    def __call__(self, key: str, value: object) -> None:
        """Demand an allowed value."""
        self.check(key, value)


def rule(check: Check) -> Rule:
    """Make a rule of a function that checks, and says in its first line what it allows."""
    said = (check.__doc__ or "").splitlines()[0].rstrip(".")
    return Rule(said[0].lower() + said[1:], check)


def must_be(what: str, good: Callable[[Any], bool]) -> Rule:
    """What help and the error say alike."""

    def check(key: str, value: object) -> None:
        if not good(value):
            raise ConfigError(f"{key} must be {what}, got {value!r}.")

    return Rule(what, check)


def whole(low: int, high: float = float("inf")) -> Rule:
    """An integer in a range."""
    return Rule(
        f"integer {_range(low, high)}",
        lambda key, value: check_number(key, value, low, high, integer=True),
    )


def number(low: float, high: float = float("inf")) -> Rule:
    """A finite number in a range."""
    return Rule(
        f"number {_range(low, high)}",
        lambda key, value: check_number(key, value, low, min(high, 1e300)),
    )


def _range(low: float, high: float) -> str:
    return f"from {low:.10g} to {high:.10g}" if high < float("inf") else f"from {low:.10g}"


def one_of(*names: str) -> Rule:
    """One of the names."""
    return Rule(" | ".join(names), lambda key, value: check_choice(key, value, names))


def or_null(other: Rule) -> Rule:
    """Null, or what the rule says."""
    return Rule(
        f"{other.allowed}, or null", lambda key, value: None if value is None else other(key, value)
    )


def flag_or(other: Rule) -> Rule:
    """True or false, or what the rule says."""
    return Rule(
        f"{flag.allowed}, or {other.allowed}",
        lambda key, value: None if isinstance(value, bool) else other(key, value),
    )


flag = must_be("true or false", lambda value: isinstance(value, bool))


@rule
def text(key: str, value: object) -> None:
    """Text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ConfigError(
            f"{key} must be a text, got the number {value}: {key}='\"{value}\"' is one."
        )
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be a text, got {value!r}.")


dotted = must_be(
    "a full name such as package.module.Class",
    lambda value: isinstance(value, str) and bool(_DOTTED.fullmatch(value)),
)


@rule
def texts(key: str, value: object) -> None:
    """Text, or a list of texts."""
    for item in value if isinstance(value, list) and value else [value]:
        text(key, item)


@rule
def kinds_of_figures(key: str, value: object) -> None:
    """A list of png, pdf and svg, or an empty one."""
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list of png, pdf and svg, got {value!r}.")
    for item in value:
        check_choice(key, str(item), ("png", "pdf", "svg"))


@rule
def names(key: str, value: object) -> None:
    """A list of names."""
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{key} must be a list of names, got {value!r}.")
    for item in value:
        name(key, item)


@rule
def name(key: str, value: object) -> None:
    """A name that a folder can have."""
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not plain or not str(value).strip():
        raise ConfigError(f"{key} must be a name, got {value!r}.")
    if any(len(part.encode()) > MOST_BYTES_OF_NAME for part in str(value).split("/")):
        raise ConfigError(f"{key} is a name of {len(str(value))} characters; 200 are allowed.")


@rule
def options(key: str, value: object) -> None:
    """A `_target_`, and what it takes."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{key} must be keys with values, of which _target_ names what takes them, got "
            f"{value!r}."
        )
    dotted(f"{key}._target_", value.get("_target_"))
    if not value.get("_partial_", True) or not isinstance(value.get("_partial_", True), bool):
        raise ConfigError(f"{key}._partial_ must be true, got {value['_partial_']!r}.")


cutoff = must_be(
    "a unit's name or number",
    lambda value: _whole(value) or (isinstance(value, str) and value != ""),
)


@rule
def share_of_batches(key: str, value: object) -> None:
    """A number or a fraction of the batches."""
    if isinstance(value, float):
        check_number(key, value, 1e-9, 1)
    else:
        check_number(key, value, 1, 1e9, integer=True)


@rule
def devices(key: str, value: object) -> None:
    """How many, a list of which, -1 or auto."""
    if value == []:
        raise ConfigError(f"{key} must name a device, got {value!r}.")
    if isinstance(value, list):
        good = all(_whole(item) and 0 <= item < MOST_DEVICES for item in value)
    elif isinstance(value, str):
        parts = value.split(",")
        good = value in ("auto", "-1") or all(part.strip().isdigit() for part in parts)
    else:
        good = _whole(value) and (value == -1 or 1 <= value <= MOST_DEVICES)  # type: ignore[operator]
    if not good:
        raise ConfigError(
            f"{key} must be a number of devices, a list of their numbers, -1 or auto, got "
            f"{value!r}."
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@rule
def class_weights(key: str, value: object) -> None:
    """Balanced, or a list of numbers."""
    if value == "balanced":
        return
    if not isinstance(value, list) or not value:
        raise ConfigError(
            f"{key} must be null, balanced, or a number for each class, got {value!r}."
        )
    for item in value:
        check_number(key, item, 0, 1e300)


@rule
def precision(key: str, value: object) -> None:
    """One of Lightning's precisions, or auto."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{key} must be one of {', '.join(PRECISIONS)}, got {value!r}.")
    check_choice(key, str(value), PRECISIONS)


@rule
def threads(key: str, value: object) -> None:
    """A number, or auto."""
    if value != "auto":
        check_number(key, value, 1, MOST_THREADS, integer=True)


@rule
def callbacks(key: str, value: object) -> None:
    """NAME={_target_: …}; null takes one away."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be keys, each with a callback's options, got {value!r}.")
    for entry, given in value.items():
        if given is not None:
            options(f"{key}.{entry}", given)


@rule
def logger(key: str, value: object) -> None:
    """A `_target_`, which may be null, and what it takes."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise ConfigError(f"{key} must be keys with values, _target_ among them, got {value!r}.")
    or_null(dotted)(f"{key}._target_", value["_target_"])

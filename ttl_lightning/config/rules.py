"""Kinds of values that a key may take; each rule is one line's error for what it does not allow."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ttl_lightning.errors import ConfigError, UnknownNameError, check_choice, check_number

Rule = Callable[[str, Any], None]

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
PRECISIONS = (
    *("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"),
    *("transformer-engine", "transformer-engine-float16", "32", "bf16", "16", "64"),
)
MOST_DEVICES = 4096
MOST_EPOCHS = 1_000_000
MOST_BYTES_OF_NAME = 200
"""What file systems allow is 255, of which a search's folders add some."""


def whole(low: int, high: int | float = float("inf")) -> Rule:
    """An integer in a range."""
    return lambda key, value: check_number(key, value, low, high, integer=True)


def number(low: float, high: float = float("inf")) -> Rule:
    """A finite number in a range."""

    def rule(key: str, value: Any) -> None:  # noqa: ANN401 - whatever was given
        check_number(key, value, low, min(high, 1e300))

    return rule


def one_of(*names: object) -> Rule:
    """One of the names."""

    def rule(key: str, value: Any) -> None:  # noqa: ANN401
        if not isinstance(value, str) or value not in names:
            raise UnknownNameError(key, value, map(str, names))

    return rule


def flag(key: str, value: object) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key} must be true or false, got {value!r}.")


def text(key: str, value: object) -> None:
    """A text that is not empty."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ConfigError(
            f"{key} must be a text, got the number {value}: {key}='\"{value}\"' is one."
        )
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be a text, got {value!r}.")


def dotted(key: str, value: object) -> None:
    """The full name of what is to be called, such as `torch.optim.SGD`."""
    if not isinstance(value, str) or not _DOTTED.fullmatch(value):
        raise ConfigError(f"{key} must be a full name such as package.module.Class, got {value!r}.")


def texts(key: str, value: object) -> None:
    """A text, or a list of them."""
    for item in value if isinstance(value, list) and value else [value]:
        text(key, item)


def names(key: str, value: object) -> None:
    """A list of names, which may be numbers."""
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{key} must be a list of names, got {value!r}.")
    for item in value:
        name(key, item)


def name(key: str, value: object) -> None:
    """A name that a folder can have; a number will do."""
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not plain or not str(value).strip():
        raise ConfigError(f"{key} must be a name, got {value!r}.")
    if any(len(part.encode()) > MOST_BYTES_OF_NAME for part in str(value).split("/")):
        raise ConfigError(f"{key} is a name of {len(str(value))} characters; 200 are allowed.")


def options(key: str, value: object) -> None:
    """Keys with values, of which `_target_` says what takes them."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{key} must be keys with values, of which _target_ names what takes them, got "
            f"{value!r}."
        )
    dotted(f"{key}._target_", value.get("_target_"))
    if not value.get("_partial_", True) or not isinstance(value.get("_partial_", True), bool):
        raise ConfigError(f"{key}._partial_ must be true, got {value['_partial_']!r}.")


def or_null(rule: Rule) -> Rule:
    """Null, or what the rule says."""
    return lambda key, value: None if value is None else rule(key, value)


def cutoff(key: str, value: object) -> None:
    """A unit's name or number; which there are, the network says."""
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise ConfigError(f"{key} must be a unit's name or number, got {value!r}.")


def share_of_batches(key: str, value: object) -> None:
    """A number of batches, or a fraction of them."""
    if isinstance(value, float):
        check_number(key, value, 1e-9, 1)
    else:
        check_number(key, value, 1, 1e9, integer=True)


def devices(key: str, value: object) -> None:
    """As Lightning takes them: how many, which, or all."""
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    for item in items:
        good = isinstance(item, int) and not isinstance(item, bool)
        good = good and (
            0 <= item < MOST_DEVICES
            if isinstance(value, list)
            else 1 <= item <= MOST_DEVICES or item == -1
        )
        if isinstance(item, str) and not isinstance(value, list):
            parts = item.split(",")
            good = item in ("auto", "-1") or all(part.strip().isdigit() for part in parts)
        if not good or not items:
            raise ConfigError(
                f"{key} must be a number of devices, a list of their numbers, -1 or auto, got "
                f"{value!r}."
            )
    if not items:
        raise ConfigError(f"{key} must name a device, got {value!r}.")


def flag_or(other: Rule) -> Rule:
    """True or false, or what the rule says."""
    return lambda key, value: None if isinstance(value, bool) else other(key, value)


def class_weights(key: str, value: object) -> None:
    """The word, or numbers; how many, the data say."""
    if value == "balanced":
        return
    if not isinstance(value, list) or not value:
        raise ConfigError(
            f"{key} must be null, balanced, or a number for each class, got {value!r}."
        )
    for item in value:
        check_number(key, item, 0, 1e300)


def precision(key: str, value: object) -> None:
    """One of Lightning's words, or its short forms as numbers; or auto."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{key} must be one of {', '.join(PRECISIONS)}, got {value!r}.")
    check_choice(key, str(value), PRECISIONS)


def callbacks(key: str, value: object) -> None:
    """Named entries, each with a `_target_`; null takes one away."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be keys, each with a callback's options, got {value!r}.")
    for entry, given in value.items():
        if given is not None:
            options(f"{key}.{entry}", given)


def logger(key: str, value: object) -> None:
    """A `_target_` that may be null, and its options."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise ConfigError(f"{key} must be keys with values, _target_ among them, got {value!r}.")
    or_null(dotted)(f"{key}._target_", value["_target_"])

"""Typed errors. Each text is a single line: what was given, what is allowed, the nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Real

MAX_LISTED = 40

# Exit statuses: a run or a job failed; the command line or the data are wrong.
FAILED, USAGE = 1, 2


class TTLError(Exception):
    """Base of every error that a user can cause and mend; the command line prints one line."""

    def __init__(self, message: str) -> None:
        super().__init__(_plain(" ".join(message.split())))


class ConfigError(TTLError):
    """A setting is missing, out of range, or contradicts another one."""


class UnknownNameError(ConfigError):
    """A name that is not among those allowed."""

    def __init__(self, kind: str, given: object, allowed: Iterable[str], advice: str = "") -> None:
        names = list(dict.fromkeys(allowed))
        close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.4)
        meant = f"; did you mean {close[0]!r}?" if close else "."
        listed = ", ".join(names[:MAX_LISTED])
        if len(names) > MAX_LISTED:
            listed += f", … ({len(names)} in all)"
        super().__init__(f"unknown {kind} {given!r}{meant} Allowed: {listed}. {advice}")
        self.kind, self.given, self.allowed, self.advice = kind, given, tuple(names), advice

    def __reduce__(self) -> tuple[object, ...]:
        # a launcher sends errors between processes, and the default would pass the text as `kind`
        return type(self), (self.kind, self.given, self.allowed, self.advice)


class UnknownCutoffError(UnknownNameError):
    """A cutoff that the backbone does not have."""


class WeightsError(TTLError):
    """Weights that cannot be found, read safely, or matched to the network."""


class DataError(TTLError):
    """A dataset, split or file that cannot be used as it is."""


class NonFiniteLossError(TTLError):
    """The loss became infinite or not a number."""


def check_number(
    key: str, value: object, low: float, high: float = float("inf"), *, integer: bool = False
) -> None:
    """Demand a number in [low, high].

    Raises:
        ConfigError: naming the key, the value and the allowed range.
    """
    kind = "an integer" if integer else "a number"
    valid = isinstance(value, int if integer else Real) and not isinstance(value, bool)
    if not valid or not low <= value <= high:  # type: ignore[operator]
        limit = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
        raise ConfigError(f"{key} must be {kind} {limit}, got {value!r}.")


def check_choice(key: str, value: object, allowed: Iterable[str]) -> None:
    """Demand one of the allowed names.

    Raises:
        UnknownNameError: naming the key, the value, the allowed names and the nearest of them.
    """
    names = list(allowed)
    if value not in names:
        raise UnknownNameError(key, value, names)


def _plain(text: str) -> str:
    """Text that a terminal shows and does not obey: damaged files are quoted in errors."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: object) -> str:
    """The text without line breaks and control characters, which a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())

"""Where to cut: after the last unit whose features training keeps, by more than chance.

Source: the paper's five steps for finding the cutoff from one full finetuning. Their "substantially
overlapped" is made a number here: a statistic of the two sets of coefficients, and its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ttl_lightning.errors import ConfigError, DataError, check_choice, check_number
from ttl_lightning.interpret.defaults import THRESHOLD

# Where random features are more alike than this, there are too few samples for the channels (fewer
# than about three a dimension), and what chance leaves is too little to judge by.
CHANCE = 0.5
# With a random mean this close to 1, nothing can exceed it.
ROOM = 1e-6
# A choice is close where a statistic that decides it is within so many standard errors of the
# threshold.
CLOSE = 2.0
# Two halves of the images differ by chance as little as you like at one unit, not at several.
UNITS = 3
HALVES = "from two halves of the images"

Floats = npt.NDArray[np.float64]


class Reuse(NamedTuple):
    """How alike one unit's features are before and after training, and how alike random ones are.

    Attributes:
        mean: the mean coefficient, from 0 to 1; None where it could not be computed.
        random_mean: that of random features of the same dimensions and number of samples.
        spectrum: every coefficient, (k,), in any order; only `ks_distance` reads the spectra.
        random_spectrum: every random coefficient, likewise; there may be another number of them.
    """

    mean: float | None
    random_mean: float | None
    spectrum: Floats | None = None
    random_spectrum: Floats | None = None


class Error(NamedTuple):
    """Standard error of the statistic, and what it was estimated from, in words."""

    size: float
    source: str


@dataclass(frozen=True, slots=True)
class Detection:
    """The unit to cut after, and what led to it.

    Attributes:
        unit: the chosen candidate.
        reason: one sentence for people.
        scores: the statistic of every unit, in network order; None where it is undefined.
        candidates: the units that could be chosen, in network order.
        statistic: the key in `STATISTICS`.
        threshold: what the statistic had to exceed.
        notes: by unit, why it cannot be judged, or that it lies below the threshold before the cut.
        nearest: of the units that would change the choice by crossing the threshold, the one
            nearest to it; None if there is no other choice.
        margin: by how much the nearest is above the threshold; negative below it.
        error: standard error of the statistic; None where it is not known.
        close: whether the margin is less than `CLOSE` standard errors; None where that is not
            known.
    """

    unit: str
    reason: str
    scores: dict[str, float | None]
    candidates: tuple[str, ...]
    statistic: str
    threshold: float
    notes: dict[str, str]
    nearest: str | None = None
    margin: float | None = None
    error: float | None = None
    close: bool | None = None


def excess(reuse: Reuse) -> float:
    """Share of what random features leave to reach: 0 if as alike as they are, 1 if the same.

    `(mean - random mean) / (1 - random mean)`; negative for features that are less alike.

    Raises:
        DataError: if a mean is missing or not finite, or the random one leaves nothing to reach.
    """
    mean, random_mean = reuse.mean, reuse.random_mean
    if mean is None or random_mean is None or not math.isfinite(mean + random_mean):
        raise DataError("the similarity, or that of random features, could not be computed")
    if random_mean > 1 - ROOM:
        raise DataError("random features are as alike as can be: too few samples for the channels")
    return (mean - random_mean) / (1 - random_mean)


def known_excess(reuse: Reuse) -> float | None:
    """The excess, None where it cannot be computed."""
    try:
        return excess(reuse)
    except DataError:
        return None


def judged(reuse: Reuse) -> bool:
    """Whether the excess is known, with enough samples for the channels to mean something."""
    return known_excess(reuse) is not None and (reuse.random_mean or 0.0) <= CHANCE


def ks_distance(reuse: Reuse) -> float:
    """One-sided Kolmogorov-Smirnov distance, from 0 to 1, by which coefficients exceed random ones.

    The largest difference, over all x, of the shares of coefficients above x. It is never less
    than the difference of the means, and a small shift of a narrow spectrum makes it large.

    Raises:
        DataError: if a spectrum is missing, empty or not finite.
    """
    if reuse.spectrum is None or reuse.random_spectrum is None:
        raise DataError("the spectrum, or that of random features, could not be computed")
    true, random = np.sort(reuse.spectrum), np.sort(reuse.random_spectrum)
    points = np.concatenate([true, random])
    if not (len(true) and len(random) and np.isfinite(points).all()):
        raise DataError("the spectrum, or that of random features, is empty or not finite")
    below = [np.searchsorted(s, points, side="right") / len(s) for s in (true, random)]
    return float((below[1] - below[0]).max())


STATISTICS: dict[str, Callable[[Reuse], float]] = {"excess": excess, "ks": ks_distance}


def detect(
    measured: Mapping[str, Reuse],
    threshold: float = THRESHOLD,
    statistic: str = "excess",
    candidates: Collection[str] | None = None,
    error: Error | None = None,
) -> Detection:
    """Choose the last candidate whose statistic is above the threshold.

    If none is, the first one that can be judged: that has a score, and whose random mean is at most
    `CHANCE`.

    Args:
        measured: by unit, in network order, input side first.
        threshold: from 0 to 1. The default was set for the excess; a distance wants its own.
        statistic: "excess" or "ks".
        candidates: the units that may be chosen, such as the ends of the blocks; None is all.
        error: of the statistic, to say how close the choice was.

    Raises:
        ConfigError: a threshold out of range, or an unknown statistic or candidate, or none.
        DataError: if no candidate can be judged.
    """
    check_number("threshold", threshold, 0, 1)
    check_choice("statistic", statistic, STATISTICS)
    names = _in_order(measured, candidates)
    scores, notes = _scores(measured, statistic)
    scored = {n: score for n in names if (score := scores[n]) is not None and n not in notes}
    if not scored:
        raise DataError(f"none of {', '.join(names)} can be judged; {names[0]}: {notes[names[0]]}.")
    above = [name for name, score in scored.items() if score > threshold]
    unit = above[-1] if above else next(iter(scored))
    for name, score in scored.items():
        if name == unit:
            break
        if score <= threshold:
            notes[name] = f"the {statistic} is not above {threshold:g}, but that of {unit} is"
    reason = _reason(scored, unit, statistic, threshold)
    if unscored := len(names) - len(scored):
        reason += f"; {unscored} cannot be judged"
    found = Detection(unit, f"{reason}.", scores, names, statistic, threshold, notes)
    nearest = _nearest(scored, unit, threshold)
    return found if nearest is None else _with_margin(found, nearest, scored[nearest], error)


def _scores(
    measured: Mapping[str, Reuse], statistic: str
) -> tuple[dict[str, float | None], dict[str, str]]:
    """The statistic of every unit, and why a unit cannot be judged by it."""
    scores: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    for unit, reuse in measured.items():
        try:
            scores[unit] = STATISTICS[statistic](reuse)
        except DataError as error:
            scores[unit], notes[unit] = None, str(error)
        else:
            if reuse.random_mean is not None and reuse.random_mean > CHANCE:
                notes[unit] = (
                    f"random features are {reuse.random_mean:.2f} alike: too few samples for the "
                    "channels to judge it"
                )
    return scores, notes


def error_between(
    first: Mapping[str, Reuse], second: Mapping[str, Reuse], statistic: str = "excess"
) -> Error | None:
    """Standard error of the statistic of all images, from that of two halves of them.

    Half the difference, as its root mean square over the units that both halves can judge: a half's
    variance is twice that of the whole, and the difference of two has twice a half's.

    Args:
        first: by unit, of one half of the images.
        second: of the other half.
        statistic: "excess" or "ks".

    Returns:
        None if fewer than `UNITS` can be judged in both.
    """
    squares = []
    for unit in first:
        halves = first[unit], second[unit]
        if all(map(judged, halves)):
            one, other = map(STATISTICS[statistic], halves)
            squares.append((one - other) ** 2 / 4)
    if len(squares) < UNITS:
        return None
    return Error(math.sqrt(sum(squares) / len(squares)), HALVES)


def _in_order(measured: Mapping[str, Reuse], candidates: Collection[str] | None) -> tuple[str, ...]:
    """The candidates in network order, once it is sure that there are some and all are known."""
    if candidates is None:
        candidates = list(measured)
    if not candidates:
        raise ConfigError("a cutoff is detected among at least one candidate, got none.")
    for name in candidates:
        check_choice("candidate", name, measured)
    return tuple(name for name in measured if name in candidates)


def _nearest(scored: Mapping[str, float], unit: str, threshold: float) -> str | None:
    """Of the units that decide, the one nearest to the threshold.

    Those after the chosen one would be chosen above it; the chosen one would not be below it,
    unless it is the first, which is chosen if none is above.
    """
    names = list(scored)
    place = names.index(unit)
    deciding = names[place if place else 1 :]
    return min(deciding, key=lambda name: abs(scored[name] - threshold), default=None)


def _with_margin(found: Detection, nearest: str, score: float, error: Error | None) -> Detection:
    """The choice, and how close it was."""
    margin = score - found.threshold
    side = "above" if margin > 0 else "below"
    place = f"the first to change it would be {nearest}, {abs(margin):.2g} {side} the threshold"
    found = replace(found, nearest=nearest, margin=margin)
    if error is None:
        reason = f"{found.reason} T{place[1:]}; how far other images would move it is not known."
        return replace(found, reason=reason)
    close = abs(margin) < CLOSE * error.size
    reason = (
        f"{found.reason} A {'close' if close else 'clear'} choice: {place}; the standard error is "
        f"{error.size:.2g} ({error.source})."
    )
    return replace(found, error=error.size, close=close, reason=reason)


def _reason(scored: Mapping[str, float], unit: str, statistic: str, threshold: float) -> str:
    """Why the unit is chosen among those that have a score."""
    if scored[unit] <= threshold:
        top = max(scored, key=lambda name: scored[name])
        return (
            f"{unit} is the first of {len(scored)} candidates, since no {statistic} is above "
            f"{threshold:g}; the highest is {scored[top]:.3g} ({top})"
        )
    reason = (
        f"{unit} is the last of {len(scored)} candidates whose {statistic} ({scored[unit]:.3g}) is "
        f"above {threshold:g}"
    )
    after = [*scored][[*scored].index(unit) + 1 :]
    if not after:
        return f"{reason}; none comes after it"
    top = max(after, key=lambda name: scored[name])
    return f"{reason}; the highest after it is {scored[top]:.3g} ({top})"

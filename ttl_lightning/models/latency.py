"""Time of a forward pass, of several models turn by turn, so that a busy machine slows all alike.

On a shared machine a pass may wait for a processor longer than it takes: on the CPU the time is
that which the thread computes, not what it waits. What others do to caches and clocks is left. The
fastest of many passes is what repeats, and the ratio of two models' fastest ones, timed by turns,
repeats where even that does not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

# A turn times passes of one model: several short ones, since the first finds the other model's
# weights in the processor's cache, or a single long one.
PASSES, TURN_S = 10, 0.05
# Both halves of the measurement must have so many turns.
TURNS = 3
# It goes on until the two halves agree to `STABLE`, for at least and at most so many seconds;
# longer only while they are too noisy, or passes so slow that this gives too few turns.
SHORTEST_S, LIMIT_S, NOISY_LIMIT_S, SLOW_LIMIT_S = 0.5, 3.0, 10.0, 30.0
CHECK_S = 0.25
STABLE = 0.02
# Too noisy: the halves' fastest passes differ by more, or half the passes took so many times as
# long as the fastest.
NOISY, BUSY = 0.15, 3.0
# Of fewer passes the 95th percentile is the slowest one, or nearly.
PASSES_OF_P95 = 40


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one forward pass, in milliseconds.

    Attributes:
        min: of the fastest pass.
        median: of all passes; it says how busy the machine was, too.
        p95: their 95th percentile; None for fewer than `PASSES_OF_P95`.
        passes: how many were timed.
        noise: by what share the fastest passes of the two halves of the measurement differ.
        batch_size: inputs of a pass.
        threads: of the CPU.
    """

    min: float
    median: float
    p95: float | None
    passes: int
    noise: float
    batch_size: int
    threads: int


def measure(
    models: Sequence[nn.Module], input_size: Sequence[int], device: str = "cpu", batch_size: int = 1
) -> list[Latency] | str:
    """Time models by turns on the same input.

    Args:
        models: are moved to the device and put into evaluation mode.
        input_size: `(C, *spatial)`.
        device: `cpu`, `cuda`, …
        batch_size: inputs of a pass.

    Returns:
        One for each model; or why there is none: the machine is too noisy, or too slow.
    """
    x = torch.rand(batch_size, *input_size, device=device)
    # all is in this thread if torch has no other
    alone = x.device.type == "cpu" and torch.get_num_threads() == 1
    passes = [_timed(model.to(device).eval(), x, alone=alone) for model in models]
    with torch.inference_mode():
        turns = take_turns(passes)
    if problem := why_not(turns):
        return problem
    return [summary(times, batch_size) for times in turns]


def take_turns(
    passes: Sequence[Callable[[], float]], now: Callable[[], float] = time.perf_counter
) -> list[list[list[float]]]:
    """Time models by turns until their times are stable, or time is up.

    Args:
        passes: each runs one model once and returns its time in milliseconds.
        now: the time in seconds.

    Returns:
        For each model the times of each of its turns; the first turn is not among them.
    """
    begin = now()
    checked = 0.0
    turns: list[list[list[float]]] = [[] for _ in passes]
    for one in passes:
        _turn(one)
    while True:
        for one, own in zip(passes, turns, strict=True):
            own.append(_turn(one))
        taken = now() - begin
        if taken >= SLOW_LIMIT_S:
            return turns
        if taken - checked < CHECK_S or len(turns[0]) < 2 * TURNS:
            continue
        checked = taken
        allowed = NOISY if taken >= LIMIT_S else STABLE
        if taken >= NOISY_LIMIT_S or (taken >= SHORTEST_S and max(map(noise, turns)) <= allowed):
            return turns


def noise(turns: Sequence[Sequence[float]]) -> float:
    """By what share the fastest passes of the first and of the second half of the turns differ."""
    middle = len(turns) // 2
    fastest = [min(map(min, half)) for half in (turns[:middle], turns[middle:])]
    return max(fastest) / min(fastest) - 1


def why_not(turns: Sequence[Sequence[Sequence[float]]]) -> str | None:
    """Why times are no measurement: too few turns, or a machine that is too noisy; None if not.

    Args:
        turns: of each model, as `take_turns` gives them.
    """
    if len(turns[0]) < 2 * TURNS:
        return (
            f"a pass is too slow: {len(turns[0])} turns took {SLOW_LIMIT_S:g} s, and it takes "
            f"{2 * TURNS}"
        )
    found = max(map(noise, turns))
    if found > NOISY:
        return (
            "the machine is too noisy: the fastest passes of the two halves of the measurement "
            f"differ by {100 * found:.0f} %, more than {100 * NOISY:.0f} %"
        )
    busy = max(
        statistics.median(time_ms for turn in own for time_ms in turn) / min(map(min, own))
        for own in turns
    )
    if busy > BUSY:
        return (
            f"the machine is too busy: the median pass took {busy:.1f} times as long as the "
            f"fastest, more than {BUSY:g} times"
        )
    return None


def summary(turns: Sequence[Sequence[float]], batch_size: int) -> Latency:
    """One model's times in a few numbers."""
    times = sorted(time_ms for turn in turns for time_ms in turn)
    many = len(times) >= PASSES_OF_P95
    return Latency(
        min=times[0],
        median=statistics.median(times),
        p95=statistics.quantiles(times, n=20, method="inclusive")[-1] if many else None,
        passes=len(times),
        noise=noise(turns),
        batch_size=batch_size,
        threads=torch.get_num_threads(),
    )


def _turn(one: Callable[[], float]) -> list[float]:
    times: list[float] = []
    while not times or (len(times) < PASSES and sum(times) < 1e3 * TURN_S):
        times.append(one())
    return times


def timed(run: Callable[[], object], *, alone: bool) -> Callable[[], float]:
    """A pass that returns its milliseconds.

    Args:
        run: computes to the end of its work.
        alone: it has no thread but this one, whose own time is taken.
    """
    clock = time.thread_time if alone else time.perf_counter

    def one() -> float:
        start = clock()
        run()
        return 1e3 * (clock() - start)

    return one


def _timed(model: nn.Module, x: torch.Tensor, *, alone: bool) -> Callable[[], float]:
    synchronize = getattr(torch, x.device.type).synchronize

    def run() -> None:
        model(x)
        synchronize()

    one = timed(run, alone=alone)

    def begun() -> float:
        synchronize()  # of what came before
        return one()

    return begun

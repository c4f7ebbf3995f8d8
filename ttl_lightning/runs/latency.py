"""The time of a forward pass, measured in a process of its own that does nothing else.

`python -m ttl_lightning.latency` reads what to time from its standard input, and is started by
`timer`: plain values, from which it builds the networks with random weights.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from ttl_lightning.models.create import create_model
from ttl_lightning.models.latency import SLOW_LIMIT_S, measure

# One is what every machine has to give, and what jobs side by side do not take from each other.
THREADS = 1
# What starting Python, importing torch and building the networks may take on a slow machine.
START_S = 120.0

# By device, the times of each model, or why there are none.
Times = Mapping[str, list[dict[str, Any]] | str]
Timer = Callable[[Sequence[Mapping[str, Any]], Sequence[int], Sequence[str]], Times]


@contextlib.contextmanager
def timer() -> Iterator[Timer]:
    """A process that starts at once, while others still work, and measures when it is asked.

    Yields:
        What measures: it takes the arguments of `create_model` for each model, `(C, *spatial)` of
        one input, and the devices. It never fails: it says why there is no time instead.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def times(
        models: Sequence[Mapping[str, Any]], input_size: Sequence[int], devices: Sequence[str]
    ) -> Times:
        request = {"models": models, "input_size": input_size, "devices": devices}
        try:
            out, log = process.communicate(json.dumps(request), START_S + SLOW_LIMIT_S)
            lines = log.strip().splitlines() or ["it said nothing"]
            if process.returncode:
                return dict.fromkeys(devices, f"the process that measures failed: {lines[-1]}")
            found: Times = json.loads(out.splitlines()[-1])
        except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
            return dict.fromkeys(devices, f"the process that measures failed: {error}")
        return found

    try:
        yield times
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """In the process: read a request, measure, print."""
    torch.set_num_threads(THREADS)
    request = json.load(sys.stdin)
    models = [create_model(**model) for model in request["models"]]
    times = {}
    for device in request["devices"]:
        found = measure(models, request["input_size"], device)
        times[device] = found if isinstance(found, str) else [asdict(each) for each in found]
    print(json.dumps(times))  # noqa: T201 - what the other process reads


if __name__ == "__main__":
    main()

"""An optimizer that fails in a way of its own for some seeds, as long as no file `mended` is there.

Jobs of a sweep import it: `protocol.optimizer._target_=misbehaving.optimizer`.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch


def optimizer(params, **settings):
    seed, rank = torch.initial_seed(), int(os.environ.get("LOCAL_RANK", "0"))
    fault = None if Path("mended").exists() else FAULTS.get((seed, rank))
    if fault:
        fault()
    return torch.optim.AdamW(params, **settings)


def raises() -> None:
    raise RuntimeError("no such luck")


def exits() -> None:
    sys.exit(3)


def kills() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def eats() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(50_000_000))
        time.sleep(0.01)


def hangs() -> None:
    time.sleep(3600)


# by seed and rank
FAULTS = {
    (2, 0): raises, (5, 0): exits, (8, 0): kills, (11, 0): eats, (14, 0): hangs, (100, 1): kills
}  # fmt: skip

"""How many processes load a run's samples, where the configuration leaves it to the machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from ttl_lightning.runtime.threads import usable

# Few processes keep a GPU busy; each loader, of training and of validation, has as many.
MOST = 8
SHARED = Path("/dev/shm")
# What several loaders' batches take there; containers have 64 MB unless they are asked for more.
SHARED_BYTES = 2e9


def workers() -> int:
    """Processes of `data.num_workers=auto`.

    None without a GPU: they would take the processors from the training. With one, those that the
    main process does not use, where the system has shared memory for their batches.
    """
    if not torch.cuda.is_available() or not SHARED.is_dir():
        return 0
    if shutil.disk_usage(SHARED).free < SHARED_BYTES:
        return 0
    return min(MOST, usable() - 1)

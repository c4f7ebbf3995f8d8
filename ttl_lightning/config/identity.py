"""What makes a run the same run: which settings bear on its result. Imports no torch, no Hydra.

`fingerprint.py` resolves the values; what is not on the lists here bears on the result, so that a
key nobody has thought of makes another run and never shares one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

# How a run is run. Another value of these gives the result that is there already.
HOW_IT_IS_RUN = frozenset(
    (
        # a name, a pause, and what is written beside the result
        *("name", "resume", "until_epoch", "logger", "latency", "figures", "task.save_masks"),
        # decisions are made of a model's probabilities, and can be made otherwise later
        "task.threshold",
        # who loads, and where what is decoded is kept: transforms hash (seed, epoch, index)
        *("data.num_workers", "data.cache", "data.cache_dir"),
        # whether a run may go on with such data: one that does skips and drops the same samples
        *("data.on_bad_image", "data.max_bad", "data.on_duplicate", "data.max_pixels"),
        # what computes; the number of devices is another matter, since it makes the batch larger
        *("trainer.accelerator", "trainer.threads"),
        *("trainer.keep_frozen", "trainer.gradient_checkpointing"),
        # only the defaults of data.batch_size and trainer.max_epochs, which count
        *("protocol.batch_size", "protocol.max_epochs"),
    )
)
# Of the package's own data sources beside these: a label. Where the data lie, each source says.
OF_OUR_SOURCES = frozenset(("data.name",))

# Keys that came with a later version, and the value that does what was done before there was such
# a key: a run of that time is the same run as one of today with this value, and no other.
ADDED: dict[str, Any] = {
    "data.fit": "crop",
    "data.eval_view": "center_crop",
    "data.tta": 1,
    "data.masks": False,
    "data.patch_size": None,
    "data.numbers": False,
    "data.folds": None,
    "data.fold": None,
    "data.region": "lungs",
    "task.head": "linear",
    "data.missing": "error",
    "data.uncertain": "error",
    "protocol.head_init": "random",
    "protocol.augment.views": None,
}


def bears(key: str) -> bool:
    """Whether a key of the configuration, such as `data.image_size`, bears on the result."""
    parts = key.split(".")
    return not any(".".join(parts[:n]) in HOW_IT_IS_RUN for n in range(1, len(parts) + 1))


def kept(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a group of keys that bear on the result, as they stand.

    Args:
        group: its path in the configuration, such as `data`.
        values: by key.
    """
    found = {}
    for key, value in values.items():
        path = f"{group}.{key}"
        if not bears(path) or (path in ADDED and value == ADDED[path]):
            continue
        found[key] = kept(path, value) if isinstance(value, Mapping) else value
    return found


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of named values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the values in which two identities differ, such as `protocol.learning_rate`."""
    first, second = (dict(_leaves(json.loads(json.dumps(v, default=str)))) for v in (one, other))
    missing = object()
    names = sorted(first.keys() | second.keys())
    return [n for n in names if first.get(n, missing) != second.get(n, missing)]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

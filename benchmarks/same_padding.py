"""Training speed with TensorFlow's SAME padding: `python benchmarks/same_padding.py [--quick]`.

`tf_efficientnet_lite0` as `create_model` makes it, and as timm makes it, beside
`efficientnet_lite0`, whose padding is symmetric. The three take turns in one process, and a ratio
is the median over the turns, so that what else the machine does hits all. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any
from unittest import mock

import torch
from training_loop import Row, machine, ratio, table, training_step

import ttl_lightning as ttl
from ttl_lightning.runtime.precision import Choice

SAME, SYMMETRIC = "tf_efficientnet_lite0", "efficientnet_lite0"
SHAPES = ((64, 3, 64, 64), (16, 3, 224, 224))
MODELS: Sequence[dict[str, Any]] = (
    {"strategy": "ftl"},
    {"strategy": "ttl", "cutoff": "block3"},
)
CHOICE = Choice("32-true", channels_last=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    rows: list[Row] = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        facts = machine()
        for shape in SHAPES:
            rows += [compare(shape, model, 3 if arguments.quick else 9) for model in MODELS]
    facts.pop("threads")
    print(", ".join(f"{key}: {value}" for key, value in facts.items()))
    print(f"\n{table(rows)}")


def compare(shape: tuple[int, ...], model: dict[str, Any], turns: int) -> Row:
    """Training steps a second of the three, taking turns."""
    sides = []
    as_it_is = contextlib.nullcontext()
    for name, padding in ((SAME, as_it_is), (SAME, timms_own()), (SYMMETRIC, as_it_is)):
        with padding:
            made = ttl.create_model(name, **model, weights=None, image_size=shape[2:])
        sides.append(training_step(made, shape, CHOICE))
    for run in sides:
        run()
    images = [[run() for run in sides] for _ in range(turns)]
    ours, timms, symmetric = ([turn[i] / shape[0] for turn in images] for i in range(3))
    return {
        "strategy": " ".join(model.values()),
        "pixels": shape[-1],
        "batch": shape[0],
        "threads": torch.get_num_threads(),
        "SAME steps/s": round(median(ours), 2),
        "symmetric steps/s": round(median(symmetric), 2),
        "SAME : symmetric": ratio(ours, symmetric),
        "timm's SAME : symmetric": ratio(timms, symmetric),
    }


@contextlib.contextmanager
def timms_own() -> Iterator[None]:
    """What is made within pads as timm does it."""
    with mock.patch("ttl_lightning.models.backbones.same_padding.fuse_same_padding"):
        yield


if __name__ == "__main__":
    main()

"""Training speed with TensorFlow's SAME padding: `python benchmarks/same_padding.py [--quick]`.

`tf_efficientnet_lite0` as `create_model` makes it, and as timm makes it, beside
`efficientnet_lite0`, whose padding is symmetric. The three take turns in one process, and a ratio
is the median over the turns, so that what else the machine does hits all. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median
from typing import Any

import timm
import torch
from torch import nn
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
    parser.add_argument("--smoke", action="store_true", help="one turn at 64 pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    turns = 1 if arguments.smoke else 3 if arguments.quick else 9
    rows: list[Row] = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        facts = machine()
        for shape in [(2, 3, 64, 64)] if arguments.smoke else SHAPES:
            rows += [compare(shape, model, turns) for model in MODELS]
    facts.pop("threads")
    print(", ".join(f"{key}: {value}" for key, value in facts.items()))
    print(f"\n{table(rows)}")


def compare(shape: tuple[int, ...], model: dict[str, Any], turns: int) -> Row:
    """Training steps a second of the three, taking turns."""
    same, symmetric = (
        ttl.create_model(name, **model, image_size=shape[2:], weights=None)
        for name in (SAME, SYMMETRIC)
    )
    networks = (same, timms_own(model.get("cutoff")), symmetric)
    sides = [training_step(network, shape, CHOICE) for network in networks]
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


def timms_own(cutoff: str | None) -> nn.Module:
    """The same network as timm makes and cuts it, after a whole block."""
    net = timm.create_model(SAME)
    if cutoff:
        net.prune_intermediate_layers([int(cutoff.removeprefix("block")) - 1])
    net.reset_classifier(2, "avg")
    return net


if __name__ == "__main__":
    main()

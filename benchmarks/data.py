"""Images a second of the phantom generator and of the training loader, on one thread.

    python benchmarks/data.py

The best of several rounds, in the thread's own processor time: other work only slows it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import ImageView, Loading
from ttl_lightning.data.phantoms.images import LEVELS, generate
from ttl_lightning.data.sources.phantom import PhantomSource

ROUNDS, IMAGES, PIXELS = 8, 512, 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="one round: whether it runs")
    rounds = 1 if parser.parse_args().smoke else ROUNDS
    torch.set_num_threads(1)
    rows = [
        (
            f"phantoms, {level}",
            best(lambda level=level: len(generate(IMAGES, PIXELS, level).labels), rounds),
        )
        for level in LEVELS
    ]
    source = PhantomSource(train_size=IMAGES, val_size=64, test_size=64)
    data = DataModule(source, ImageView(image_size=PIXELS), Loading())
    data.setup()
    loaders = {"training loader, augmented": data.train_dataloader}
    loaders["validation loader"] = data.val_dataloader
    for name, loader in loaders.items():
        rows.append((name, best(lambda loader=loader: count(loader()), rounds)))
    print(f"| {PIXELS} pixels, one thread | images/s |\n|---|---|")
    for name, speed in rows:
        print(f"| {name} | {speed:,.0f} |")


def count(loader: torch.utils.data.DataLoader[dict[str, torch.Tensor]]) -> int:
    """Read all of a loader's images."""
    return sum(len(batch["id"]) for batch in loader)


def best(job: Callable[[], int], rounds: int) -> float:
    """Images a second of the fastest round."""
    speeds = []
    for _ in range(rounds):
        start = time.thread_time()
        images = job()
        speeds.append(images / (time.thread_time() - start))
    return max(speeds)


if __name__ == "__main__":
    main()

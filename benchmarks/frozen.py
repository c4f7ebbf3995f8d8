"""Training with and without what frozen units give being kept: seconds, and whether numbers agree.

    python benchmarks/frozen.py            # ffe, lwft and the views of training, some minutes
    python benchmarks/frozen.py --smoke    # whether it runs

Phantoms, so that loading costs next to nothing beside the network; the pairs take turns. A run's
epochs are timed by its own table, validations included.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path
from statistics import median

import pytorch_lightning as pl

import ttl_lightning as ttl
from ttl_lightning.records import history
from ttl_lightning.records.folder import RunFolder

SETTINGS = (
    "trainer.accelerator=cpu", "latency=false", "figures=[png]", "data.test_size=32",
    "protocol.learning_rate=1e-3",
)  # fmt: skip
STILL = (
    "protocol.augment.crop_scale=[1,1]",
    "protocol.augment.crop_ratio=[1,1]",
    "protocol.augment.rotation_degrees=0",
)
SECONDS = "seconds"
ROWS = {
    "ffe, no augmentation": ("strategy=ffe", *STILL),
    "lwft block3, no augmentation": ("strategy=lwft", "cutoff=block3", *STILL),
    "lwft block5, no augmentation": ("strategy=lwft", "cutoff=block5", *STILL),
    "lwft block5, 2 views": ("strategy=lwft", "cutoff=block5", "protocol.augment.views=2"),
    "lwft block5, new views": ("strategy=lwft", "cutoff=block5"),
    "lwft stem, no augmentation": ("strategy=lwft", "cutoff=stem", *STILL),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--images", type=int, default=256, help="of an epoch; half for validation")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    common = [
        *SETTINGS,
        f"data.image_size={options.pixels}",
        f"data.train_size={options.images}",
        f"data.val_size={options.images // 2}",
        f"trainer.max_epochs={options.epochs}",
    ]
    rows, rounds = ROWS, options.rounds
    if options.smoke:
        rows = {"smoke": ("strategy=ffe", "backbone=test_resnet", "backbone.weights=null", *STILL)}
        common += ["data.image_size=32", "data.train_size=16", "trainer.max_epochs=2"]
        rounds = 1
    print(
        f"{options.epochs} epochs of {options.images} images of {options.pixels} pixels\n\n"
        "| | kept s | anew s | ratio | kept MB | largest difference of validation AUROC |\n"
        "|---|---|---|---|---|---|"
    )
    for name, overrides in rows.items():
        pairs = [
            [
                trained([*common, *overrides, f"trainer.keep_frozen={kept}"])
                for kept in (True, False)
            ]
            for _ in range(rounds)
        ]
        kept, anew = ([pair[side][0] for pair in pairs] for side in (0, 1))
        ratio = median(a / b for a, b in zip(kept, anew, strict=True))
        gap = max(abs(a - b) for one, other in pairs for a, b in zip(one[2], other[2], strict=True))
        size = pairs[0][0][1]
        print(
            f"| {name} | {median(kept):.1f} | {median(anew):.1f} | {ratio:.2f} | {size:.0f} "
            f"| {gap:.1e} |",
            flush=True,
        )


def trained(overrides: list[str]) -> tuple[float, float, list[float]]:
    """Seconds of the epochs, megabytes kept, and the validation AUROC after each epoch."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = Path(folder, "run")
        clock = "+callbacks.clock._target_=frozen.Clock"
        result = ttl.train(overrides=[*overrides, clock], run_dir=run)
        seconds = float((run / SECONDS).read_text())
        scores = [float(row["val/auroc"]) for row in history.read(RunFolder(run).history)]
    kept = result.train.get("kept_frozen", {"mb": 0.0})
    return seconds, float(kept["mb"]), scores


class Clock(pl.Callback):
    """Times fitting, and writes it into the run's folder."""

    def on_fit_start(self, *_: object) -> None:
        """Training begins."""
        self.begun = time.perf_counter()

    def on_fit_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Training is over."""
        Path(trainer.default_root_dir, SECONDS).write_text(f"{time.perf_counter() - self.begun}")


if __name__ == "__main__":
    main()

"""`python -m ttl_lightning.probe`: what each cutoff promises, before any training.

A linear classifier on the pooled features of every unit of the pretrained network; the overrides
are those of a run. Training and validation images are read, test images are not.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ttl_lightning import config, shell

if TYPE_CHECKING:
    from ttl_lightning.analysis.probes import ProbeResult

SPLITS = ("train", "val")
USED = ("backbone", "data", "seed", "protocol.augment", "trainer.accelerator")
USE = """usage: python -m ttl_lightning.probe [KEY=VALUE …]

A linear classifier on every unit's features of the pretrained network: what each cutoff promises.

  python -m ttl_lightning.probe data=folder data.path=FOLDER backbone=resnet50

"""


def main() -> None:
    """Print the table of the configuration that the arguments compose."""
    shell.run(
        lambda arguments: show(config.read(arguments)[0]),
        lambda: USE + config.usage(USED),
        sys.argv[1:],
    )


def probe(cfg: DictConfig) -> dict[str, ProbeResult]:
    """Probe every unit of the pretrained network, whatever the strategy and the cutoff.

    Args:
        cfg: a run's configuration.

    Raises:
        TTLError: if data or weights cannot be used, or no class can be probed.
    """
    import pytorch_lightning as pl

    from ttl_lightning.analysis.probes import probe_units
    from ttl_lightning.assembly import create_data, device
    from ttl_lightning.backbones.factory import create_backbone
    from ttl_lightning.callbacks.progress import quiet

    with quiet():
        with config.made():
            data = create_data(cfg)
        data.prepare_data()
        data.setup("fit")
        pl.seed_everything(cfg.seed, workers=True, verbose=False)  # networks without weights
        backbone = create_backbone(cfg.backbone.name, cfg.backbone.weights, cfg.data.in_channels)
        backbone.to(device(cfg))
        splits = {split: data.plain_dataloader(split) for split in SPLITS}
        return probe_units(backbone, splits, data.task)


def show(cfg: DictConfig) -> None:
    """Print one row a cutoff, the best one marked."""
    from rich.console import Console
    from rich.table import Table

    found = probe(cfg)
    best = max(found, key=lambda unit: found[unit].metrics["val/auprc"] or 0.0)
    table = Table()
    for column in ("cutoff", "number", "validation AUROC", "validation AUPRC", "penalty"):
        table.add_column(column, justify="left" if column == "cutoff" else "right")
    for number, (unit, result) in enumerate(found.items(), start=1):
        scores = (_shown(result.metrics[f"val/{name}"]) for name in ("auroc", "auprc"))
        style = "bold" if unit == best else None
        table.add_row(unit, str(number), *scores, f"{result.penalty:g}", style=style)
    Console(width=max(80, Console().width)).print(table)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()

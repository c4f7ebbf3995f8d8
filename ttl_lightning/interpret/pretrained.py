"""What linear probes of a configuration's pretrained network promise of each cutoff.

A linear classifier on the pooled features of every unit, before any training. Training and
validation images are read, test images are not.
"""

from __future__ import annotations

import pytorch_lightning as pl

from ttl_lightning.config.schema import RunSpec
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.runs.build import device, read_data
from ttl_lightning.runs.callbacks.progress import quiet
from ttl_lightning.runs.parts import task_class
from ttl_lightning.tasks.losses import kind_of
from ttl_lightning.tasks.probes import ProbeResult, probe_units

SPLITS = ("train", "val")


def probe(spec: RunSpec) -> dict[str, ProbeResult]:
    """Probe every unit of the pretrained network, whatever the strategy and the cutoff.

    Args:
        spec: a run's configuration.

    Raises:
        TTLError: if the task has no classes, data or weights cannot be used, or no class can be
            probed.
    """
    task_class(spec).check_probed()
    with quiet():
        data = read_data(spec.recipe)
        pl.seed_everything(spec.seed, workers=True, verbose=False)  # networks without weights
        backbone = create_backbone(
            *(spec.backbone.name, spec.backbone.weights, spec.data.in_channels),
            image_size=spec.data.image_size,
        )
        backbone.to(device(spec))
        splits = {split: data.plain_dataloader(split) for split in SPLITS}
        return probe_units(backbone, splits, kind_of(data))

"""TransFusion: units up to the cutoff pretrained, the rest at half width and drawn anew; all train.

Source: Raghu et al., "Transfusion: Understanding transfer learning for medical imaging" (2019), in
the paper's reading of it: every later block has half its channels.
"""

from __future__ import annotations

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.strategies.base import Strategy
from ttl_lightning.models.strategies.slim import slimmed


def split(backbone: Backbone, cutoff: str) -> Backbone:
    """A copy whose units after the cutoff have half the channels and new weights."""
    slim = slimmed(backbone, cutoff)
    slim.pretrained_units = slim.pretrained_units[: slim.index(cutoff)]
    return slim


TF = Strategy(
    "tf",
    "TransFusion: units up to the cutoff pretrained, the others at half width and new; all trained",
    split,
    needs_cutoff=True,
    keeps_rest=False,
)

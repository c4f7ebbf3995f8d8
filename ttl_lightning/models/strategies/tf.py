"""TransFusion: units up to the cutoff pretrained, the rest at half width and drawn anew; all train.

Source: Raghu et al., "Transfusion: Understanding transfer learning for medical imaging" (2019), in
the paper's reading of it: every later block has half its channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttl_lightning.models.strategies.strategy import Strategy

if TYPE_CHECKING:
    from ttl_lightning.models.backbones.base import Backbone


def split(backbone: Backbone, cutoff: str) -> Backbone:
    """A copy whose units after the cutoff have half the channels and new weights."""
    from ttl_lightning.models.strategies.slim import slimmed  # brings torch

    slim = slimmed(backbone, cutoff)
    slim.pretrained_units = slim.pretrained_units[: slim.index(cutoff)]
    return slim


TF = Strategy(
    "tf",
    "TransFusion: units up to the cutoff pretrained, the others at half width and new; all trained",
    "TransFusion",
    "#009e73",
    split,
    needs_cutoff=True,
    keeps_rest=False,
)

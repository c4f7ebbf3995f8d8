"""Full transfer learning: every unit is pretrained and trained (spec: the paper's FTL)."""

from __future__ import annotations

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.strategies.base import Strategy


def split(backbone: Backbone, cutoff: str) -> Backbone:
    """All units, trained; the cutoff is the last of them."""
    return backbone.truncated(cutoff)


FTL = Strategy("ftl", "full transfer: all units pretrained and trained", split, needs_cutoff=False)

"""Fixed feature extraction: every unit is pretrained and frozen, only the head trains."""

from __future__ import annotations

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.strategies.base import Strategy


def split(backbone: Backbone, cutoff: str) -> Backbone:
    """All units, frozen; the cutoff is the last of them."""
    kept = backbone.truncated("full")
    kept.freeze(cutoff)
    return kept


FFE = Strategy(
    "ffe", "fixed features: all units frozen, only the head trains", split, needs_cutoff=False
)

"""Fixed feature extraction: every unit is pretrained and frozen, only the head trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttl_lightning.models.strategies.strategy import Strategy

if TYPE_CHECKING:
    from ttl_lightning.models.backbones.base import Backbone


def split(backbone: Backbone, cutoff: str) -> Backbone:
    """All units, frozen; the cutoff is the last of them."""
    kept = backbone.truncated("full")
    kept.freeze(cutoff)
    return kept


FFE = Strategy(
    "ffe",
    "fixed features: all units frozen, only the head trains",
    "fixed features",
    "#666666",
    split,
    needs_cutoff=False,
)

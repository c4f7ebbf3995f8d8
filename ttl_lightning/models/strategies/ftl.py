"""Full transfer learning: every unit is pretrained and trained (spec: the paper's FTL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttl_lightning.models.strategies.strategy import Strategy

if TYPE_CHECKING:
    from ttl_lightning.models.backbones.base import Backbone


def split(backbone: Backbone, cutoff: str) -> Backbone:
    """All units, trained; the cutoff is the last of them."""
    return backbone.truncated(cutoff)


FTL = Strategy(
    "ftl",
    "full transfer: all units pretrained and trained",
    "full finetuning",
    "#d55e00",
    split,
    needs_cutoff=False,
)

"""Truncated transfer learning: units up to the cutoff pretrained and trained, the others removed.

Source: the paper's Section 3 (TruncatedTL).
"""

from __future__ import annotations

from ttl_lightning.models.strategies.base import Strategy
from ttl_lightning.models.strategies.ftl import split

TTL = Strategy(
    "ttl",
    "truncated transfer: units up to the cutoff trained, the others removed",
    split,
    needs_cutoff=True,
    keeps_rest=False,
)

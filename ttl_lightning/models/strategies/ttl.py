"""Truncated transfer learning: units up to the cutoff pretrained and trained, the others removed.

Source: the paper's Section 3 (TruncatedTL).
"""

from __future__ import annotations

from ttl_lightning.models.strategies.ftl import split
from ttl_lightning.models.strategies.strategy import Strategy

TTL = Strategy(
    "ttl",
    "truncated transfer: units up to the cutoff trained, the others removed",
    "TTL (truncated)",
    "#0072b2",
    split,
    needs_cutoff=True,
    keeps_rest=False,
)

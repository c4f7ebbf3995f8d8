"""A data module of options that lie side by side, as a run makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ttl_lightning.data.module import DataModule
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.registry import made
from ttl_lightning.data.transforms import Augment


def data_of(
    kind: type[Source],
    *,
    augment: Augment | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    **options: Any,
) -> DataModule:
    """What a source gives, not set up yet."""
    parts = made(kind, options, seed)
    return DataModule(*parts, augment=augment or Augment(), mean=mean, std=std)

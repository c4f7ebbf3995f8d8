"""Strategies: what becomes of the units before and after a cutoff. A file each, and a line here."""

from ttl_lightning.models.strategies.ffe import FFE
from ttl_lightning.models.strategies.ftl import FTL
from ttl_lightning.models.strategies.lwft import LWFT
from ttl_lightning.models.strategies.strategy import Strategy
from ttl_lightning.models.strategies.tf import TF
from ttl_lightning.models.strategies.ttl import TTL

STRATEGIES: dict[str, Strategy] = {s.name: s for s in (FTL, FFE, LWFT, TF, TTL)}

__all__ = ["FFE", "FTL", "LWFT", "STRATEGIES", "TF", "TTL", "Strategy"]

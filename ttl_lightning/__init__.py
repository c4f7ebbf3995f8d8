"""TruncatedTL for medical images: cut a pretrained network and finetune what is left."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttl_lightning.errors import TTLError
    from ttl_lightning.models.backbones.base import Backbone
    from ttl_lightning.models.backbones.factory import create_backbone, list_backbones
    from ttl_lightning.models.backbones.own import register_backbone
    from ttl_lightning.models.create import create_model, list_strategies
    from ttl_lightning.records.schema import RunResult
    from ttl_lightning.runs.fit import train
    from ttl_lightning.runs.open import open_run
    from ttl_lightning.runs.predictor import load
    from ttl_lightning.search import search
    from ttl_lightning.tasks.classification import ClassificationTask

__version__ = "0.1.0"

# Imported when first used: torch and timm take seconds that `--help` does not have.
_HOMES = {
    "ClassificationTask": "ttl_lightning.tasks.classification",
    "RunResult": "ttl_lightning.records.schema",
    "TTLError": "ttl_lightning.errors",
    "Backbone": "ttl_lightning.models.backbones.base",
    "create_backbone": "ttl_lightning.models.backbones.factory",
    "create_model": "ttl_lightning.models.create",
    "list_backbones": "ttl_lightning.models.backbones.factory",
    "register_backbone": "ttl_lightning.models.backbones.own",
    "list_strategies": "ttl_lightning.models.create",
    "load": "ttl_lightning.runs.predictor",
    "open_run": "ttl_lightning.runs.open",
    "search": "ttl_lightning.search",
    "train": "ttl_lightning.runs.fit",
}

__all__ = [
    "Backbone",
    "ClassificationTask",
    "RunResult",
    "TTLError",
    "__version__",
    "create_backbone",
    "create_model",
    "list_backbones",
    "list_strategies",
    "load",
    "open_run",
    "register_backbone",
    "search",
    "train",
]


class _Package(types.ModuleType):
    """Importing train.py would put that module in the place of the function of its name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type
    if name not in _HOMES:
        raise AttributeError(f"module 'ttl_lightning' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

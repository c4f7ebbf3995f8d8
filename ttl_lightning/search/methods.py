"""The methods by name: a file each, and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import MISSING, fields
from typing import Any, cast

from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.search.base import Method
from ttl_lightning.search.detected import Detected
from ttl_lightning.search.exhaustive import Exhaustive
from ttl_lightning.search.halving import Halving
from ttl_lightning.search.hierarchical import Hierarchical
from ttl_lightning.search.incremental import Incremental
from ttl_lightning.search.predicted import Predicted

METHODS: dict[str, type[Method]] = {
    m.name: m for m in (Exhaustive, Hierarchical, Incremental, Halving, Detected, Predicted)
}


def create_method(name: str) -> Method:
    """A method with its default options.

    Raises:
        UnknownNameError: if there is no method of that name.
        ConfigError: if it has an option without a default.
    """
    check_choice("search method", name, METHODS)
    cls = METHODS[name]
    if needed := _needed(cls):
        example = f"{cls.__name__}({', '.join(f'{option}=…' for option in needed)})"
        raise ConfigError(f"method {name!r} needs {', '.join(needed)}: give method={example}.")
    return cls()


def method_at(path: str, options: Collection[str]) -> type[Any]:
    """The class of a method that anyone wrote, by its module and name.

    Args:
        path: `ttl_lightning.search.halving.Halving`.
        options: names of those that it will be given.

    Raises:
        ConfigError: if there is no such class, or an option without a default is not given.
        UnknownNameError: if it has no such option.
    """
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
        own = [field.name for field in fields(cls)]
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"hydra.sweeper.method={path} is no search method: {error}.") from error
    for option in options:
        check_choice(f"option of {name}", option, own)
    if missing := [option for option in _needed(cls) if option not in options]:
        raise ConfigError(f"hydra.sweeper.method={path} needs {', '.join(missing)} beside it.")
    return cast("type[Any]", cls)


def _needed(cls: type[Any]) -> list[str]:
    """Names of the options without a default."""
    return [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]

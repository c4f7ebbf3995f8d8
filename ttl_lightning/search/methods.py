"""The methods by name: a file each, and a line here."""

from __future__ import annotations

from dataclasses import MISSING, fields

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
    needed = [f.name for f in fields(cls) if f.default is MISSING]  # type: ignore[arg-type]
    if needed:
        example = f"{cls.__name__}({', '.join(f'{option}=…' for option in needed)})"
        raise ConfigError(f"method {name!r} needs {', '.join(needed)}: give method={example}.")
    return cls()

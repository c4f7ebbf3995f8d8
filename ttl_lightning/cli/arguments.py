"""KEY=VALUE arguments of the commands that Hydra does not run, as the fields of a dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ttl_lightning.config import compose as config
from ttl_lightning.errors import ConfigError, check_choice


def chosen(kind: type, arguments: Sequence[str]) -> Any:  # noqa: ANN401 - of the dataclass
    """The dataclass with the values that are given; text is taken as it stands.

    Raises:
        ConfigError: naming the argument that is unknown, or no such value.
    """
    hints = get_type_hints(kind)
    known = sorted(hints)
    found: Any = OmegaConf.structured(kind)
    OmegaConf.set_readonly(found, value=False)  # as those of frozen dataclasses are
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(f"cannot read {argument!r}: arguments are KEY=VALUE.")
        name = key.partition(".")[0]
        check_choice("argument", name, known)
        try:
            # a path may begin or end with what YAML takes for its own
            if hints[name] in (str, str | None) and value != "null":
                found[key] = value
            else:
                found = OmegaConf.merge(found, OmegaConf.from_dotlist([argument]))
        except (OmegaConfBaseException, YAMLError) as error:
            raise ConfigError(f"{argument}: {config.first_line(error)}") from error
    return OmegaConf.to_object(found)


def shown(kind: type) -> str:
    """The options with their defaults, for a help's text."""
    return ", ".join(f"{f.name}={_default(f.default)}" for f in dataclasses.fields(kind))


def of_data(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of the data, `data=…` and `data.KEY=…`, and the other arguments."""
    data = [one for one in arguments if one.partition("=")[0].partition(".")[0] == "data"]
    return data, [one for one in arguments if one not in data]


def several(text: str) -> list[str]:
    """Folders, apart by commas."""
    return [part for part in (each.strip() for each in text.strip("[]").split(",")) if part]


def _default(value: object) -> str:
    if value is dataclasses.MISSING:  # a list, empty by default
        return "[]"
    return "null" if value is None else str(value)

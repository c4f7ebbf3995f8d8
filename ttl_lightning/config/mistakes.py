"""What is wrong with an override that Hydra refused, and what comes nearest to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from ttl_lightning.errors import ConfigError, UnknownNameError

# Groups that may be left out, and those that take several choices.
OPTIONAL, SEVERAL = ("experiment",), ("callbacks",)


def wrong_choice(override: Override, allowed: Sequence[str]) -> ConfigError | None:
    """What is wrong with the choice of a group, if anything."""
    group, value = override.key_or_group, override.value()
    if value is None and group in OPTIONAL:
        return None
    chosen = value if isinstance(value, list) and group in SEVERAL else [value]
    for one in chosen:
        if not isinstance(one, str) or one not in allowed:
            return UnknownNameError(group, one, allowed)
    return None


def wrong_key(override: Override, allowed: Sequence[str]) -> ConfigError | None:
    """An override of a key that no file has; `+key=value` adds one on purpose."""
    key = override.key_or_group
    group = key.partition(".")[0]
    if override.is_add() or override.is_delete() or key in allowed or group == "hydra":
        return None
    near = [name for name in allowed if name.startswith(f"{group}.")]
    return UnknownNameError("key", key, near or [name for name in allowed if "." not in name])


def keys(node: object, prefix: str = "") -> Iterator[str]:
    """The paths of all keys of a configuration."""
    if not isinstance(node, DictConfig):
        return
    for key in node:
        path = prefix + str(key)
        yield path
        yield from keys(node._get_node(key), f"{path}.")

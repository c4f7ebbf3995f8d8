"""The configuration in a run's folder, read as data: a folder may come from anyone.

Nothing that the file names is imported, made or looked up. What is built again from it are the
package's own data source and augmentation, which are known by name, from plain values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ttl_lightning.config import compose as config
from ttl_lightning.config.border import recipe_of
from ttl_lightning.config.schema import Options, Recipe
from ttl_lightning.data.sources.registry import AUGMENT, SOURCES, source
from ttl_lightning.errors import ConfigError
from ttl_lightning.records.folder import RunFolder

# A run's own file has some 3 kB.
MOST_BYTES, MOST_DEPTH = 1_000_000, 32
# What is built again, and from which names.
BUILT = {"data": SOURCES, "protocol.augment": frozenset((AUGMENT,))}
BEFORE = {"fit": "crop", "eval_view": "center_crop", "tta": 1}
"""What a run did with its data whose configuration is older than the key."""


def read(folder: Path) -> DictConfig:
    """The values in a run's `config.yaml`, none of them more than a value.

    Raises:
        ConfigError: in one line, if the file is missing, damaged, or holds what asks for more:
            tags, references, interpolations, or `_target_`s where the product writes none.
    """
    path = RunFolder(folder).config
    try:
        return _values(path)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} cannot be read: {_cause(error)}.") from error


def write(values: Options, folder: Path) -> None:
    """Write a run's whole configuration, its data and weights by paths that hold anywhere."""
    resolved = OmegaConf.create(dict(values))
    known = source(resolved.data.get("_target_"))
    for group, key in (
        *(("data", key) for key in (known.places if known else ())),
        ("backbone", "weights"),
    ):
        value = resolved[group].get(key)
        if (
            isinstance(value, str)
            and value != "imagenet"
            and (path := Path(value).expanduser()).exists()
        ):
            resolved[group][key] = str(path.absolute())
    OmegaConf.save(resolved, RunFolder(folder).config)


def rebuildable(folder: Path, overrides: Sequence[str] = ()) -> Recipe:
    """What data and model can be built again of, with overrides of the configuration's keys.

    Args:
        folder: the run's.
        overrides: `data.KEY=VALUE`, of keys that the configuration has.

    Raises:
        ConfigError: as `read`; if an override names no key; or if source or augmentation are not
            the package's own, or hold more than their own plain options.
    """
    path = RunFolder(folder).config
    cfg = read(folder)
    try:
        cfg = DictConfig(OmegaConf.merge({"data": BEFORE}, cfg))
        OmegaConf.set_struct(cfg, True)  # noqa: FBT003 - OmegaConf's own signature
        cfg.merge_with_dotlist(list(overrides))
        plain: Any = OmegaConf.to_container(cfg, resolve=False)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {config.first_line(error)}") from error
    for group, known in BUILT.items():
        options = _at(plain, group)
        target = options.get("_target_") if isinstance(options, Mapping) else None
        if target not in known:
            raise ConfigError(
                f"{path}: {group}._target_ is {_short(target)}, which is not this package's; a "
                "run's folder does not get to run it."
            )
        for key, value in _leaves(options, group):
            if key != f"{group}._target_" and _more_than_a_value(key, value):
                raise ConfigError(f"{path}: {key} is no plain value, and a run's has no other.")
    return recipe_of(plain, str(path))


def _values(path: Path) -> DictConfig:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    text = path.read_text(encoding="utf-8")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        # Deeper, the parser's time grows as the square.
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise ValueError("it is nested too deep")
        # Ten lines of references to references fill any memory; a tag asks for an object.
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise ValueError(f"line {line} holds a reference or a tag")
    cfg = OmegaConf.create(text)  # by a loader that makes plain values alone
    if not isinstance(cfg, DictConfig) or not cfg:
        raise ValueError("it holds no keys with values")
    for key, value in _leaves(OmegaConf.to_container(cfg, resolve=False)):
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{key} is an interpolation, and a stored value stands for itself")
    return cfg


def _more_than_a_value(key: str, value: object) -> bool:
    """Hydra's own keys begin with an underscore; interpolations may come by an override."""
    own = any(part.startswith("_") for part in key.split("."))
    return own or (isinstance(value, str) and "${" in value)


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value that is no container, by its path; an empty container is one."""
    items: Any = value.items() if isinstance(value, Mapping) else None
    if isinstance(value, list):
        items = enumerate(value)
    if not items:
        yield path, value
        return
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def _at(values: Any, path: str) -> Any:  # noqa: ANN401 - whatever the file holds there
    for part in path.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _cause(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return config.first_line(error).rstrip(".")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"

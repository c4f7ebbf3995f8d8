"""The border: plain values come in, a checked `RunSpec` goes down. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from ttl_lightning.config.rules import Rule
from ttl_lightning.config.schema import OF_SOURCES, Options, Recipe, RunSpec
from ttl_lightning.errors import ConfigError, check_choice

Made = TypeVar("Made")

# Fields that are a whole node, beside those that are keys of it.
_WHOLE = ("values", "options")


@dataclass(frozen=True, slots=True)
class Key:
    """Of a key: its type, its rule if it has one, and whether it may be missing."""

    kind: Any
    rule: Rule | None
    optional: bool


def _keys(kind: type, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Each field of a dataclass, and then those in it, by its path."""
    hints, plain = get_type_hints(kind, include_extras=True), get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.name in _WHOLE:
            continue
        path, inner = f"{prefix}{field.name}", plain[field.name]
        usual = (field.default, field.default_factory)
        optional = any(each is not dataclasses.MISSING for each in usual)
        yield path, Key(inner, _rule(hints[field.name]), optional)
        if dataclasses.is_dataclass(inner):
            yield from _keys(inner, f"{path}.")  # type: ignore[arg-type]


def _rule(hint: Any) -> Rule | None:  # noqa: ANN401 - a type
    """The rule of a type, or of what stands before `| None`."""
    said = (rule for part in (hint, *get_args(hint)) for rule in getattr(part, "__metadata__", ()))
    return next((rule for rule in said if isinstance(rule, Rule)), None)


KEYS = dict(_keys(RunSpec)) | {
    path: Key(Any, rule, optional=True) for path, rule in OF_SOURCES.items()
}
TOP = tuple(path for path in KEYS if "." not in path)
GROUPS = tuple(
    path for path in TOP if KEYS[path].kind == Options or dataclasses.is_dataclass(KEYS[path].kind)
)
# Groups all of whose keys are there; those of the others belong to what their `_target_` names.
CLOSED = tuple(path for path in GROUPS if not KEYS[path].rule)
# Arguments of Lightning's Trainer that a run sets itself, with what to give instead.
OWN_OF_TRAINER = {
    "callbacks": "callbacks.NAME={_target_: …} adds one",
    "logger": "logger= chooses one",
    "default_root_dir": "hydra.run.dir= is the run's folder",
    "plugins": "a run has its own for checkpoints",
    "enable_checkpointing": "a run keeps its best and its last epoch",
    "enable_progress_bar": "a run shows one where a person watches",
    "enable_model_summary": "result.json has the costs",
    "num_sanity_val_steps": "everything is checked before training",
    "use_distributed_sampler": "a run has its own",
}


def spec_of(values: Mapping[str, Any]) -> RunSpec:
    """A run's configuration as what is below the command line reads it.

    Args:
        values: all of it, resolved, as plain values.

    Raises:
        ConfigError: as `check_values`.
    """
    check_values(values)
    return _made(RunSpec, values)


def recipe_of(values: Mapping[str, Any], file: str) -> Recipe:
    """The same of a file that may be of an older version, which lacks other keys.

    Raises:
        ConfigError: if it lacks one of these.
    """
    try:
        own = {"augment": values["protocol"]["augment"]}
        head = values.get("task", {}).get("head")  # of before there was another than the linear one
        return _made(Recipe, {**values, **own, **({"head": head} if head else {})})
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{file} lacks a key: {error}.") from error


def _made(kind: type[Made], values: Mapping[str, Any]) -> Made:
    hints, given = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        inner = hints[field.name]
        if field.name in _WHOLE:
            given[field.name] = values
        elif field.name in values and dataclasses.is_dataclass(inner):
            given[field.name] = _made(inner, values[field.name])  # type: ignore[arg-type]
        elif field.name in values:
            given[field.name] = values[field.name]
    return kind(**given)


def check_values(cfg: Mapping[str, Any]) -> None:
    """Demand the values that the types say, and no key that nothing reads.

    Args:
        cfg: a run's whole configuration, resolved, as plain values.

    Raises:
        ConfigError: naming the first key that is not as it should be.
    """
    _no_others(cfg, TOP, "")
    for group in GROUPS:
        if group not in cfg and not KEYS[group].optional:
            raise ConfigError(f"{group} is missing: choose one.")
        if group in cfg and not isinstance(cfg[group], Mapping):
            raise ConfigError(f"{group} must be one of its choices, got {cfg[group]!r}.")
    for group in CLOSED:
        own = [path.partition(".")[2] for path in KEYS if path.startswith(f"{group}.")]
        _no_others(cfg[group], own, f"{group}.")
    for path, key in KEYS.items():
        group, _, inner = path.rpartition(".")
        values = cfg[group] if group else cfg
        if inner not in values and not key.optional:
            raise ConfigError(f"{path} is missing.")
        if inner in values and key.rule:
            key.rule(path, values[inner])
    _check_together(cfg["protocol"], cfg["trainer"])


def _check_together(protocol: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    if (protocol["lr_floor"] or 0) >= protocol["learning_rate"]:
        raise ConfigError(
            f"protocol.lr_floor={protocol['lr_floor']} is not below protocol.learning_rate="
            f"{protocol['learning_rate']}: training would end at once."
        )
    for key, instead in OWN_OF_TRAINER.items():
        if key in trainer:
            raise ConfigError(f"trainer.{key} cannot be given: {instead}.")
    if trainer["check_val_every_n_epoch"] > trainer["max_epochs"]:
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={trainer['check_val_every_n_epoch']} is more than "
            f"trainer.max_epochs={trainer['max_epochs']}: no epoch would be chosen."
        )


def _no_others(values: Mapping[str, Any], known: Iterable[str], prefix: str) -> None:
    allowed = [f"{prefix}{key}" for key in known]
    for key in values:
        if f"{prefix}{key}" not in allowed:
            check_choice("key", f"{prefix}{key}", allowed)

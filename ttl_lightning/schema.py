"""What a configuration's values may be, key by key; imports nothing heavy, so it is asked first.

Of `data` and of what a `_target_` names the constructors say themselves what they take; see
`assembly.check`, which tries them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ttl_lightning.errors import ConfigError, UnknownNameError, check_choice, check_number

Rule = Callable[[str, Any], None]

GROUPS = ("backbone", "strategy", "data", "task", "protocol", "trainer", "logger", "callbacks")
MOST_EPOCHS = 1_000_000
MOST_BYTES_OF_NAME = 200
"""What file systems allow is 255, of which a search's folders add some."""


def whole(low: int, high: int | float = float("inf")) -> Rule:
    """An integer in a range."""
    return lambda key, value: check_number(key, value, low, high, integer=True)


def number(low: float, high: float = float("inf")) -> Rule:
    """A finite number in a range."""

    def rule(key: str, value: Any) -> None:  # noqa: ANN401 - whatever was given
        check_number(key, value, low, min(high, 1e300))

    return rule


def one_of(*names: object) -> Rule:
    """One of the names."""

    def rule(key: str, value: Any) -> None:  # noqa: ANN401
        if not isinstance(value, str) or value not in names:
            raise UnknownNameError(key, value, map(str, names))

    return rule


def flag(key: str, value: object) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key} must be true or false, got {value!r}.")


def text(key: str, value: object) -> None:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be a text, got {value!r}.")


def name(key: str, value: object) -> None:
    """A name that a folder can have; a number will do."""
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not plain or not str(value).strip():
        raise ConfigError(f"{key} must be a name, got {value!r}.")
    if any(len(part.encode()) > MOST_BYTES_OF_NAME for part in str(value).split("/")):
        raise ConfigError(f"{key} is a name of {len(str(value))} characters; 200 are allowed.")


def options(key: str, value: object) -> None:
    """Keys with values, of which `_target_` says what takes them."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{key} must be keys with values, of which _target_ names what takes them, got "
            f"{value!r}."
        )
    text(f"{key}._target_", value.get("_target_"))
    if not value.get("_partial_", True) or not isinstance(value.get("_partial_", True), bool):
        raise ConfigError(f"{key}._partial_ must be true, got {value['_partial_']!r}.")


def or_null(rule: Rule) -> Rule:
    """Null, or what the rule says."""
    return lambda key, value: None if value is None else rule(key, value)


def cutoff(key: str, value: object) -> None:
    """A unit's name or number; which there are, the network says."""
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise ConfigError(f"{key} must be a unit's name or number, got {value!r}.")


def share_of_batches(key: str, value: object) -> None:
    """A number of batches, or a fraction of them."""
    if isinstance(value, float):
        check_number(key, value, 1e-9, 1)
    else:
        check_number(key, value, 1, integer=True)


def devices(key: str, value: object) -> None:
    """As Lightning takes them: how many, which, or all."""
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    for item in items:
        good = isinstance(item, int) and not isinstance(item, bool)
        good = good and (item >= 0 if isinstance(value, list) else item >= 1 or item == -1)
        if isinstance(item, str) and not isinstance(value, list):
            parts = item.split(",")
            good = item in ("auto", "-1") or all(part.strip().isdigit() for part in parts)
        if not good or not items:
            raise ConfigError(
                f"{key} must be a number of devices, a list of their numbers, -1 or auto, got "
                f"{value!r}."
            )
    if not items:
        raise ConfigError(f"{key} must name a device, got {value!r}.")


def class_weights(key: str, value: object) -> None:
    """The word, or numbers; how many, the data say."""
    if value == "balanced":
        return
    if not isinstance(value, list) or not value:
        raise ConfigError(
            f"{key} must be null, balanced, or a number for each class, got {value!r}."
        )
    for item in value:
        check_number(key, item, 0, 1e300)


def precision(key: str, value: object) -> None:
    """One of Lightning's words, or its short forms as numbers."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{key} must be one of Lightning's precisions or auto, got {value!r}.")


def callbacks(key: str, value: object) -> None:
    """Named entries, each with a `_target_`; null takes one away."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be keys, each with a callback's options, got {value!r}.")
    for entry, given in value.items():
        if given is not None:
            options(f"{key}.{entry}", given)


def logger(key: str, value: object) -> None:
    """A `_target_` that may be null, and its options."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise ConfigError(f"{key} must be keys with values, _target_ among them, got {value!r}.")
    or_null(text)(f"{key}._target_", value["_target_"])


RULES: dict[str, Rule] = {
    "seed": whole(0, 2**32 - 1),
    "name": name,
    "cutoff": or_null(cutoff),
    "resume": one_of("auto", "never"),
    "until_epoch": or_null(whole(1, MOST_EPOCHS)),
    "latency": flag,
    "callbacks": callbacks,
    "logger": logger,
    "data": options,
    "backbone.name": text,
    "backbone.weights": or_null(text),
    "strategy.name": text,
    "strategy.pooling": flag,
    "task": options,
    "task.class_weights": or_null(class_weights),
    "protocol.optimizer": options,
    "protocol.learning_rate": number(1e-12, 1e30),
    "protocol.pretrained_lr_factor": number(0),
    "protocol.head_init": text,
    "protocol.loss": text,
    "protocol.focal_gamma": number(0, 100),
    "protocol.scheduler": or_null(options),
    "protocol.scheduler_interval": one_of("epoch", "step"),
    "protocol.monitor": text,
    "protocol.monitor_mode": one_of("min", "max"),
    "protocol.lr_floor": or_null(number(0)),
    "protocol.max_epochs": whole(1, MOST_EPOCHS),
    "protocol.batch_size": whole(1, 65536),
    "protocol.augment": options,
    "trainer": options,
    "trainer.accelerator": text,
    "trainer.devices": devices,
    "trainer.max_epochs": whole(1, MOST_EPOCHS),
    "trainer.precision": precision,
    "trainer.channels_last": or_null(flag),
    "trainer.batch_size_finder": or_null(text),
    "trainer.gradient_clip_val": or_null(number(1e-12)),
    "trainer.accumulate_grad_batches": whole(1),
    "trainer.check_val_every_n_epoch": whole(1, MOST_EPOCHS),
    "trainer.limit_train_batches": share_of_batches,
    "trainer.limit_val_batches": share_of_batches,
    "trainer.limit_test_batches": share_of_batches,
}
# Groups all of whose keys are above; those of the others belong to what their `_target_` names.
CLOSED = ("backbone", "strategy", "protocol")
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


def check_values(cfg: Mapping[str, Any]) -> None:
    """Demand the values that the rules say, and no key that nothing reads.

    Args:
        cfg: a run's whole configuration, resolved, as plain values.

    Raises:
        ConfigError: naming the first key that is not as it should be.
    """
    top = [*GROUPS, *(key for key in RULES if "." not in key and key not in GROUPS)]
    _no_others(cfg, top, "")
    for group in GROUPS:
        if group in cfg and not isinstance(cfg[group], Mapping):
            raise ConfigError(f"{group} must be one of its choices, got {cfg[group]!r}.")
    for group in CLOSED:
        own = [key.partition(".")[2] for key in RULES if key.startswith(f"{group}.")]
        _no_others(cfg[group], own, f"{group}.")
    for key, rule in RULES.items():
        group, _, inner = key.partition(".")
        values = cfg.get(group) if inner else cfg
        if values is None or (inner or key) not in values:
            if key in ("callbacks", "task.class_weights"):  # of before there was such a key
                continue
            raise ConfigError(f"{key} is missing.")
        rule(key, values[inner or key])
    trainer = cfg["trainer"]
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

"""What a configuration's values may be, key by key; imports nothing heavy, so it is asked first.

Of `data` and of what a `_target_` names the constructors say themselves what they take; see
`assembly.check`, which tries them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ttl_lightning.config.rules import (
    MOST_EPOCHS,
    Rule,
    callbacks,
    class_weights,
    cutoff,
    devices,
    flag,
    flag_or,
    logger,
    name,
    names,
    number,
    one_of,
    options,
    or_null,
    precision,
    share_of_batches,
    text,
    texts,
    whole,
)
from ttl_lightning.errors import ConfigError, check_choice

GROUPS = ("backbone", "strategy", "data", "task", "protocol", "trainer", "logger", "callbacks")

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
    "data.name": name,
    "data.in_channels": whole(1, 4096),
    "data.batch_size": whole(1, 65536),
    "data.cache_dir": or_null(text),
    "data.path": or_null(text),
    "data.root": or_null(text),
    "data.labels": or_null(text),
    "data.dataset": text,
    "data.path_column": text,
    "data.study_column": text,
    "data.label_columns": texts,
    "data.split_column": or_null(text),
    "data.patient_column": or_null(text),
    "data.slice_column": or_null(text),
    "data.abnormal_column": or_null(text),
    "data.classes": or_null(names),
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
    "trainer.accumulate_grad_batches": whole(1, MOST_EPOCHS),
    "trainer.check_val_every_n_epoch": whole(1, MOST_EPOCHS),
    "trainer.deterministic": flag_or(one_of("warn")),
    "trainer.fast_dev_run": flag_or(whole(0, MOST_EPOCHS)),
    "trainer.limit_train_batches": share_of_batches,
    "trainer.limit_val_batches": share_of_batches,
    "trainer.limit_test_batches": share_of_batches,
}
# Keys that not every source has, or that came with a later version.
OPTIONAL = (*(key for key in RULES if key.startswith("data.")), "callbacks", "task.class_weights")
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
        if group not in cfg and group not in OPTIONAL:
            raise ConfigError(f"{group} is missing: choose one.")
        if group in cfg and not isinstance(cfg[group], Mapping):
            raise ConfigError(f"{group} must be one of its choices, got {cfg[group]!r}.")
    for group in CLOSED:
        own = [key.partition(".")[2] for key in RULES if key.startswith(f"{group}.")]
        _no_others(cfg[group], own, f"{group}.")
    for key, rule in RULES.items():
        group, _, inner = key.partition(".")
        values = cfg.get(group) if inner else cfg
        if values is None or (inner or key) not in values:
            if key in OPTIONAL:
                continue
            raise ConfigError(f"{key} is missing.")
        rule(key, values[inner or key])
    protocol, trainer = cfg["protocol"], cfg["trainer"]
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

"""A composed configuration becomes typed values, and nothing of it is lost or changed."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from omegaconf import OmegaConf

from ttl_lightning.config import compose as config
from ttl_lightning.config.border import CLOSED, GROUPS, KEYS, recipe_of, spec_of
from ttl_lightning.errors import ConfigError


@pytest.fixture(scope="module")
def values() -> dict:
    return config.values_of(
        config.read(["strategy=ttl", "cutoff=block3", "+trainer.profiler=x"])[0]
    )


def test_every_field_holds_the_value_of_its_key(values: dict) -> None:
    spec = spec_of(values)
    for path in KEYS:
        group, _, name = path.rpartition(".")
        if path in GROUPS and dataclasses.is_dataclass(getattr(spec, path)):
            continue
        if path.startswith("data.") and not hasattr(spec.data, name):
            continue  # a source's own
        field = getattr(getattr(spec, group) if group else spec, name)
        assert field == (values[group] if group else values)[name], path
    assert spec.values == values
    for group in set(GROUPS) - set(CLOSED) - {"logger", "callbacks"}:
        assert getattr(spec, group).options == values[group]
    assert spec.trainer.options["profiler"] == "x"


def test_it_cannot_be_changed_and_travels_between_processes(values: dict) -> None:
    spec = spec_of(values)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.seed = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert not any(OmegaConf.is_config(value) for value in spec.values.values())


def test_keys_that_came_later_have_a_default(values: dict) -> None:
    older = {key: value for key, value in values.items() if key != "callbacks"}
    older["task"] = {key: value for key, value in values["task"].items() if key != "class_weights"}
    spec = spec_of(older)
    assert (spec.callbacks, spec.task.class_weights) == ({}, None)


@pytest.mark.parametrize("path", ["seed", "data.image_size", "data.name", "protocol.monitor"])
def test_a_key_that_is_missing_is_named(path: str, values: dict) -> None:
    group, _, name = path.rpartition(".")
    held = values[group] if group else values
    rest = {key: value for key, value in held.items() if key != name}
    with pytest.raises(ConfigError, match=f"^{path} is missing"):
        spec_of(values | {group: rest} if group else rest)


@pytest.mark.parametrize(
    ("overrides", "size", "last"),
    [
        ([], [64, 64], True),
        (["data=phantom3d"], [16, 48, 48], False),
        (["data.image_size=[32,48]"], [32, 48], True),
        (["data=phantom3d", "trainer.channels_last=true"], [16, 48, 48], True),
        (["trainer.channels_last=false"], [64, 64], False),
        (["trainer.precision=auto"], [64, 64], None),
        (["trainer.precision=auto", "trainer.channels_last=false"], [64, 64], False),
    ],
)
def test_what_follows_from_the_values(overrides, size, last) -> None:
    spec = spec_of(config.values_of(config.read(overrides)[0]))
    assert spec.data.spatial == size
    assert spec.channels_last is last


def test_what_data_and_model_are_made_of_needs_no_other_key(values: dict) -> None:
    kept = ("seed", "cutoff", "backbone", "strategy", "data")
    protocol = {"augment": values["protocol"]["augment"]}
    older = {**{key: values[key] for key in kept}, "protocol": protocol}
    assert recipe_of(older, "x.yaml") == spec_of(values).recipe
    for key in older:
        less = {k: v for k, v in older.items() if k != key}
        with pytest.raises(ConfigError, match=rf"^x\.yaml lacks a key: .*{key}"):
            recipe_of(less, "x.yaml")

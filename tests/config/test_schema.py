from __future__ import annotations

import importlib
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from lightning_fabric.plugins.precision.precision import _PRECISION_INPUT

from ttl_lightning.config import compose as config
from ttl_lightning.config.border import CLOSED, GROUPS, KEYS, OWN_OF_TRAINER, check_values
from ttl_lightning.config.rules import PRECISIONS
from ttl_lightning.data.options import Loading
from ttl_lightning.data.sources.registry import source
from ttl_lightning.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"
PACKAGE = Path(__file__).parents[2] / "ttl_lightning"
# Keys of the trainer's and the task's groups that a run takes out before these see them.
OURS = {
    "trainer": {
        *("precision", "channels_last", "batch_size_finder"),
        *("threads", "keep_frozen", "gradient_checkpointing"),
    },
    "": {"head"},
    "task": {"head"},
    "task.task": {"head"},
}
HYDRAS = ("_target_", "_partial_", "defaults")


def _nodes(values: Any, path: str) -> list[tuple[str, dict]]:
    """Every mapping with a `_target_`, at any depth."""
    found = []
    if isinstance(values, dict):
        found += [(path, values)] if values.get("_target_") else []
        for key, value in values.items():
            found += _nodes(value, f"{path}.{key}")
    return found


def _parameters(target: str) -> set[str]:
    module, _, name = target.rpartition(".")
    called = getattr(importlib.import_module(module), name)
    if known := source(target):  # whose options lie beside those of view and loading
        return {f.name for kind in (known, known.view, Loading) for f in fields(kind)}
    found: set[str] = set()
    for kind in inspect.getmro(called) if inspect.isclass(called) else (called,):
        made = kind.__dict__.get("__init__", None) if inspect.isclass(kind) else kind
        if made is None or made is object.__init__:
            continue
        named = inspect.signature(made).parameters.values()
        found |= {p.name for p in named if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind == p.VAR_KEYWORD for p in named):
            break
    return found


TARGETS = [
    (file, path, node)
    for file in sorted(CONF.rglob("*.yaml"))
    for path, node in _nodes(yaml.safe_load(file.read_text()), file.parent.name)
    if not node["_target_"].startswith(("hydra_plugins.hydra_", "pytorch_lightning.loggers."))
]


@pytest.mark.parametrize(
    ("file", "path", "node"), TARGETS, ids=[f"{f.stem}:{p}" for f, p, _ in TARGETS]
)
def test_what_a_file_gives_is_taken_by_what_it_names(file: Path, path: str, node: dict) -> None:
    given = set(node) - set(HYDRAS) - OURS.get(path, set())
    taken = _parameters(node["_target_"])
    if "method" in node:  # of a search, whose options lie beside it
        taken |= _parameters(node["method"])
    assert given <= taken, file


@pytest.mark.parametrize("group", CLOSED)
def test_every_key_of_a_closed_group_has_its_rule_and_is_read(group: str) -> None:
    keys = {
        key
        for file in (CONF / group).glob("*.yaml")
        for key in yaml.safe_load(file.read_text()) or {}
        if key != "defaults"
    }
    ruled = {key.partition(".")[2] for key in KEYS if key.startswith(f"{group}.")}
    assert keys == ruled
    text = "".join(file.read_text() for file in PACKAGE.rglob("*.py"))
    unread = {"protocol": {"max_epochs", "batch_size"}}.get(group, set())  # read by interpolation
    for key in ruled - unread:
        assert f"{group}.{key}" in text.replace("cfg.", ""), key


def test_the_composed_configuration_is_in_order_and_complete() -> None:
    cfg, _ = config.read([])
    values = config.values_of(cfg)
    assert set(values) == {*GROUPS, *(key for key in KEYS if "." not in key)}
    check_values(values)


def test_precisions_are_those_of_lightning() -> None:
    words = {str(word) for kind in get_args(_PRECISION_INPUT) for word in get_args(kind)}
    assert set(PRECISIONS) == {*words, "auto"}


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("trainer.limit_val_batches=0", r"trainer\.limit_val_batches must be an integer from 1 t"),
        (
            "trainer.limit_train_batches=1.5",
            r"limit_train_batches must be a number from 1e-09 to 1",
        ),
        ("trainer.devices=0", r"trainer\.devices must be a number of devices"),
        ("trainer.devices=[]", r"trainer\.devices must"),
        ("protocol.optimizer=null", r"protocol\.optimizer must be keys with values"),
        ("protocol.optimizer._partial_=false", r"_partial_ must be true, got False"),
        ("protocol.optimizer._target_=Adam", r"must be a full name such as package\.module\.Class"),
        ("protocol.monitor_mode=best", "unknown protocol.monitor_mode 'best'"),
        ("protocol.lr_floor=1", "is not below protocol.learning_rate"),
        ("protocol.augment=null", r"protocol\.augment must be keys with values"),
        ("task.class_weights=[1,-1]", r"task\.class_weights must be a number from 0"),
        ("trainer.precision=33", "unknown trainer.precision '33'"),
        ("+protocol.foo=1", "unknown key 'protocol.foo'"),
        ("+foo=1", "unknown key 'foo'"),
        ("name=''", "name must be a name"),
        ("seed=${nope}", "seed: Interpolation key 'nope' not found"),
        ("seed=???", "Missing mandatory value: seed"),
        ("~seed", "seed is missing"),
        ("data.name=[a]", r"data\.name must be a name"),
        ("cutoff=true", r"cutoff must be a unit's name or number"),
        ("strategy=[ftl,ttl]", "strategy takes one choice"),
        ("hydra.job.chdir=true", r"hydra\.job\.chdir=true is not for these runs"),
        *((f"+trainer.{key}=1", rf"trainer\.{key} cannot be given") for key in OWN_OF_TRAINER),
    ],
)
def test_a_wrong_value_names_its_key(override: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        config.read([override])
    assert "\n" not in str(caught.value)


def test_a_number_where_a_text_is_meant_says_how_to_quote_it() -> None:
    with pytest.raises(ConfigError, match=r"data\.path must be a text, got the number 47: data"):
        config.read(["data=csv", "data.path=47"])
    assert config.read(["data=csv", "data.path='47'"])[0].data.path == "47"


def test_a_path_that_hydra_cannot_read_says_how_to_quote_it() -> None:
    with pytest.raises(ConfigError, match=r"is quoted for Hydra and for the shell: data\.path=\"'"):
        config.read(["data=folder", "data.path=/data/chest (1)/images"])
    quoted = config.read(["data=folder", "data.path='/data/chest (1)/images'"])[0]
    assert quoted.data.path == "/data/chest (1)/images"

"""Help says of every key its value, what it may be and what it does, each from its one place."""

from __future__ import annotations

import re

import pytest
import yaml

from ttl_lightning.config import compose as config
from ttl_lightning.config import manual
from ttl_lightning.config.border import GROUPS, KEYS, OWN_OF_TRAINER
from ttl_lightning.config.manual import EVERYTHING, comments, header, usage
from ttl_lightning.errors import ConfigError

_ENTRY = re.compile(r"  ([\w.]+)=(.*)")


def _entries(text: str) -> dict[str, tuple[str, str]]:
    """Of each key, the value and the words that stand below it."""
    found: dict[str, tuple[str, str]] = {}
    key = ""
    for line in text.partition("Keys with their values")[2].splitlines():
        if entry := _ENTRY.fullmatch(line):
            key, value = entry[1], entry[2]
            found[key] = value, ""
        elif line.startswith("      "):
            found[key] = found[key][0], f"{found[key][1]} {line.strip()}".strip()
    return found


@pytest.mark.parametrize("protocol", ["fast", "2d", "3d"])
def test_every_key_has_its_value_its_words_and_what_is_allowed(protocol: str) -> None:
    overrides = [f"protocol={protocol}", "seed=3"]
    said = _entries(usage(EVERYTHING, overrides))
    values = config.values_of(config.read(overrides)[0])
    for path, key in KEYS.items():
        group, _, name = path.rpartition(".")
        held = values[group] if group else values
        if path in GROUPS or name not in held or isinstance(held[name], dict):
            continue
        shown, words = said[path]
        assert yaml.safe_load(shown) == held[name], path
        assert key.rule is None or f"[{key.rule.allowed}]" in words, path
        # conf/data is described by its own sources
        assert group == "data" or words.partition("[")[0].strip(), path
    for path in ("protocol.optimizer._target_", "protocol.augment.crop_scale"):
        assert path in said


def test_what_is_not_asked_for_is_not_said() -> None:
    text = usage(("strategy", "data.image_size"))
    assert set(_entries(text)) == {"strategy.name", "strategy.pooling", "data.image_size"}
    assert "backbone=" not in text


def test_the_choices_words_come_before_those_of_the_others() -> None:
    for backbone in ("resnet3d_50", "resnet50"):
        _, words = _entries(usage(("backbone",), [f"backbone={backbone}"]))["backbone.weights"]
        assert ("inflated from 2D" in words) == (backbone == "resnet3d_50")


def test_a_files_words_come_with_its_values(tmp_path, monkeypatch) -> None:
    (tmp_path / "data" / "shared").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text("defaults:\n  - data: two\n")
    (tmp_path / "data" / "one.yaml").write_text(
        "defaults: [shared/all@_here_, _self_]\nb: 2 # own\n"
    )
    (tmp_path / "data" / "two.yaml").write_text("a: 1 # the default's\nc: 1 # also\n")
    (tmp_path / "data" / "shared" / "all.yaml").write_text("a: 1 # shared\nb: 1 # not this\n")
    monkeypatch.setattr(manual, "files", lambda _: tmp_path)
    monkeypatch.setattr(manual, "choices", lambda _: ["one", "two"])
    found = manual._comments_of("data", "one")
    assert found == {"data.a": "shared", "data.b": "own", "data.c": "also"}


def test_a_mistake_is_one_line() -> None:
    with pytest.raises(ConfigError, match="unknown protocol 'd3'"):
        usage(EVERYTHING, ["protocol=d3"])


def test_a_key_with_no_comment_has_none_of_its_neighbours() -> None:
    text = "# file\n\n# two\n# lines\na: 1\nb: 2\nc: # behind\n  d: x#y\n  # above\n  e: 1\n"
    assert comments(text) == {"a": "two lines", "c": "behind", "c.e": "above"}
    assert header(text) == "file"
    assert header("a: 1\n# not this\n") == ""


def test_what_a_run_sets_itself_is_not_offered() -> None:
    offered = _entries(usage(EVERYTHING))
    assert not {f"trainer.{key}" for key in OWN_OF_TRAINER} & set(offered)

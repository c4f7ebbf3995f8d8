"""The sources by their names, and what their options are made of."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from ttl_lightning.config import compose as config
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import Loading
from ttl_lightning.data.sources.registry import SOURCES, made, source
from ttl_lightning.errors import ConfigError

CONF = Path(__file__).parents[3] / "conf" / "data"
CHOICES = sorted(path.stem for path in CONF.glob("[!_]*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_names_every_option_with_its_default(name: str) -> None:
    given = config.plain(config.read([f"data={name}"])[0].data)
    kind = source(given.pop("_target_"))
    assert kind is not None
    assert given["name"] == name
    options = {}
    for part in (kind, kind.view, Loading):
        for field in fields(part):
            assert field.name not in options, "of two parts"
            options[field.name] = field.default
    assert set(given) == set(options) - {"seed"}  # which is the run's
    options |= kind.defaults
    for key in set(given) - {"path", "batch_size"}:
        default = options[key]
        assert given[key] == (list(default) if isinstance(default, tuple) else default), key


@pytest.mark.parametrize("name", ["phantom", "phantom3d"])
def test_a_choice_makes_what_it_says(name: str) -> None:
    options = config.plain(config.read([f"data={name}", "data.fit=pad"])[0].data)
    kind = source(options.pop("_target_"))
    found = made(kind, options | {"batch_size": 7}, seed=3)
    assert (found.source.name, found.source.seed) == (name, 3)
    assert (found.view.fit, found.loading.batch_size) == ("pad", 7)
    assert DataModule(*found).batch_size == 7


def test_a_key_that_nothing_reads_is_named() -> None:
    kind = source("ttl_lightning.data.csv.CsvDataModule")
    assert kind is not None
    with pytest.raises(ConfigError, match=r"unknown key 'data\.foo': CsvSource takes no such arg"):
        made(kind, {"foo": 1})


def test_what_no_check_foresees_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.png,0\n")
    kind = source("ttl_lightning.data.csv.CsvDataModule")
    assert kind is not None
    with pytest.raises(ConfigError, match=r"data: TypeError: 'int' object is not iterable"):
        made(kind, {"path": tmp_path / "list.csv", "label_columns": 5})


def test_no_source_needs_torch() -> None:
    script = (
        "import sys; from ttl_lightning.data.sources.registry import SOURCES, source;"
        "print(len([source(name) for name in SOURCES]),"
        "[name for name in ('torch', 'pytorch_lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"{len(SOURCES)} []\n", done.stderr

from __future__ import annotations

import ast
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf

import ttl_lightning as ttl
from ttl_lightning.cli.analyze import analyze
from ttl_lightning.data.sources.registry import SOURCES, first_name, source, today
from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs import stored

CONF = Path(__file__).parents[2] / "conf"
Evil = Callable[[dict, Path], None]


class _Mark:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def _pickled(folder: Path, mark: Path) -> str:
    path = folder / "evil.pt"
    torch.save(_Mark(mark), path)
    return str(path)


def _nested_torch_load(cfg: dict, folder: Path) -> None:
    evil = _pickled(folder, folder / "mark")
    cfg["data"]["cache_dir"] = {"_target_": "torch.load", "f": evil, "weights_only": False}


def _nested_numpy_load(cfg: dict, folder: Path) -> None:
    path = folder / "evil.npy"
    np.save(path, np.array([_Mark(folder / "mark")], dtype=object), allow_pickle=True)
    call = {"_target_": "numpy.load", "file": str(path), "allow_pickle": True}
    cfg["protocol"]["augment"]["rotation_degrees"] = call


def _through_our_modules(cfg: dict, folder: Path) -> None:
    evil = _pickled(folder, folder / "mark")
    cfg["data"] = {
        "_target_": "ttl_lightning.models.backbones.checkpoints.torch.load",
        "f": evil, "in_channels": 3,
        "weights_only": False,
    }  # fmt: skip


def _a_module_in_the_folder(cfg: dict, folder: Path) -> None:
    (folder / "evil_source.py").write_text(f"open({str(folder / 'mark')!r}, 'w')\n")
    cfg["data"]["_target_"] = "evil_source.Source"


def _in_a_list(cfg: dict, folder: Path) -> None:
    cfg["data"]["classes"] = [{"_target_": "pathlib.Path.touch", "self": str(folder / "mark")}]


def _positional(cfg: dict, folder: Path) -> None:
    cfg["data"]["_args_"] = [str(folder / "mark")]


def _by_the_augmentation(cfg: dict, folder: Path) -> None:
    cfg["protocol"]["augment"]["_target_"] = "ttl_lightning.records.schema.Path.touch"
    cfg["protocol"]["augment"]["self"] = str(folder / "mark")


def _by_an_interpolation(cfg: dict, folder: Path) -> None:
    OmegaConf.register_new_resolver("touch", lambda path: Path(path).touch(), replace=True)
    cfg["data"]["path"] = f"${{touch:{folder / 'mark'}}}"


def _by_another_packages_class(cfg: dict, _: Path) -> None:
    cfg["data"]["_target_"] = "ttl_lightning.data.module.LightningDataModule"


ATTACKS: tuple[Evil, ...] = (
    _nested_torch_load, _nested_numpy_load, _through_our_modules, _a_module_in_the_folder,
    _in_a_list, _positional, _by_the_augmentation, _by_an_interpolation,
    _by_another_packages_class,
)  # fmt: skip


@pytest.fixture
def folder(cut: Path, tmp_path: Path) -> Path:
    shutil.copytree(cut, tmp_path / "run")
    return tmp_path / "run"


def _change(folder: Path, change: Evil) -> None:
    path = folder / "config.yaml"
    cfg = yaml.safe_load(path.read_text())
    change(cfg, folder)
    path.write_text(yaml.safe_dump(cfg))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_folder_does_not_get_to_run_code(
    attack: Evil, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change(folder, attack)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    for open_it in (ttl.open_run, lambda run: analyze("transfer", [f"run={run}", "device=cpu"])):
        with pytest.raises(ConfigError, match=r"config\.yaml") as caught:
            open_it(folder)
        assert "\n" not in str(caught.value)
    assert ttl.load(folder).preprocessing.view is None  # a model needs no configuration
    assert not (folder / "mark").exists()
    assert "evil_source" not in set(sys.modules) - before


RAW = {
    "a tag": ("a: !!python/object/apply:os.system ['touch mark']\n", "line 1 holds a reference or"),
    "references": ("a: &a [1]\nb: *a\n", "line 1 holds a reference|line 2 holds a reference"),
    "deep": ("a: " + "[" * 100_000, "nested too deep|cannot be read"),
    "a list": ("- a\n- b\n", "no keys with values"),
    "broken": ("a: [1, 2\nb: {\n", r"line \d: "),
    "two of a key": ("a: 1\na: 2\n", "duplicate key"),
    "binary": ("\x00\x01", "cannot be read"),
    "large": ("a: 1\n" + "#" * 1_000_001, "larger than 1,000,000 bytes"),
    "empty": ("", "no keys with values"),
    "an interpolation": ("a: ${oc.env:HOME}\n", "a is an interpolation"),
    "lacking parts": ("seed: 0\n", r"data\._target_ is None"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_damaged_file_is_one_line(name: str, folder: Path) -> None:
    text, message = RAW[name]
    (folder / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        stored.rebuildable(folder)
    assert str(folder / "config.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_files_place_is_one_line(folder: Path) -> None:
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read"):
        stored.read(folder)


def test_an_override_gets_no_further(cut: Path) -> None:
    for override in (
        "data._target_=os.system", "data.path={_target_: os.system}", "data.path=${oc.env:HOME}",
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            stored.rebuildable(cut, [override])


def test_a_stored_name_of_a_network_fetches_nothing(folder: Path, network_attempts: list) -> None:
    result = json.loads((folder / "result.json").read_text())
    for name in ("hf-hub:someone/else", f"local-dir:{folder}", "os.system", "../../resnet18"):
        (folder / "result.json").write_text(json.dumps(result | {"backbone": name}))
        with pytest.raises(TTLError, match="unknown backbone"):
            ttl.load(folder)
    assert not network_attempts


def test_resuming_takes_nothing_from_the_folders_file(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    # a run of a version before identities is judged by its own file
    (folder / "result.json").write_text(json.dumps(result | {"identity": {}}))
    _change(folder, _through_our_modules)
    with pytest.raises(ConfigError, match="another configuration"):
        ttl.train(overrides=RunResult.load(folder).overrides, run_dir=folder)
    assert not (folder / "mark").exists()


def test_every_source_of_the_command_line_is_known() -> None:
    files = sorted((CONF / "data").glob("*.yaml"))
    targets = {yaml.safe_load(file.read_text())["_target_"] for file in files}
    assert {first_name(name) for name in SOURCES} | targets == SOURCES
    for name in SOURCES:
        made = source(name)
        assert made is not None
        assert f"{made.__module__}.{made.__qualname__}" == today(name)
        assert today(name) in targets
    assert source("os.system") is None
    assert source(None) is None


def test_nothing_else_reads_a_stored_configuration() -> None:
    """One reader: no other module of the package loads YAML, or makes what a text names."""
    # these build a run that its user asked for, from the command line's own configuration
    allowed = {"parts.py": {"instantiate", "get_class"}, "build.py": {"instantiate"}}
    for file in Path(ttl.__file__).parent.rglob("*.py"):
        found = {
            getattr(node.func, "attr", getattr(node.func, "id", ""))
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call)
        }
        asked = found & {"instantiate", "get_class", "get_object", "get_method", "unsafe_load"}
        assert asked <= allowed.get(file.name, set()), file

"""A run is the same run wherever its files lie, whatever its unit is called, however it is run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf

import ttl_lightning as ttl
from ttl_lightning.config import compose as config
from ttl_lightning.config.identity import digest
from ttl_lightning.errors import ConfigError, DataError, UnknownCutoffError, WeightsError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.fingerprint import identity, left_in

SMALL = (
    "backbone=test_resnet", "backbone.weights=null", "strategy=ttl", "cutoff=block2",
    "data.image_size=32", "protocol.batch_size=8", "trainer.accelerator=cpu",
    "trainer.max_epochs=1", "data.train_size=16", "data.val_size=8", "data.test_size=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def base():
    return config.read(SMALL)[0]


@pytest.fixture
def of(base):
    """Fingerprint of the small run with other values."""

    def make(**values) -> str:
        cfg = OmegaConf.create(OmegaConf.to_container(base, resolve=True))
        for key, value in values.items():
            OmegaConf.update(cfg, key.replace("__", "."), value)
        return digest(identity(config.values_of(cfg)))

    return make


def test_names_of_one_unit_are_one_run(of) -> None:
    assert len({of(cutoff=name) for name in ("block2", "block2.1", 3, "3")}) == 1
    assert of(cutoff="full") == of(cutoff="block4") == of(cutoff=5) != of(cutoff="block2")
    with pytest.raises(UnknownCutoffError, match="did you mean 'block2"):
        of(cutoff="blok2")


def test_devices_are_their_number(of) -> None:
    one = of()
    for words in (1, "1", [0], [1], "0,", "auto", -1):
        assert of(trainer__devices=words) == one  # on a CPU there is one unless more are asked for
    assert of(trainer__accelerator="gpu") == of(trainer__accelerator="auto") == one
    assert of(trainer__devices=2) == of(trainer__devices=[2, 3]) != one
    # as many as there are: only the machine that runs it knows
    assert of(trainer__devices="auto", trainer__accelerator="gpu") != one


def test_precision_and_layout_are_what_they_come_to(of) -> None:
    assert of(trainer__precision="32-true") == of(trainer__precision=32) == of()
    assert of(trainer__channels_last=True) == of() != of(trainer__channels_last=False)
    assert len({of(), of(trainer__precision="bf16-mixed"), of(trainer__precision="auto")}) == 3


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    arrays = {f"{s}_images": draw.integers(0, 256, (8, 16, 16), np.uint8) for s in
              ("train", "val", "test")}  # fmt: skip
    labels = {f"{s}_labels": np.arange(8)[:, None] % 2 for s in ("train", "val", "test")}
    np.savez(tmp_path / "a.npz", **arrays, **labels)
    return tmp_path / "a.npz"


def test_data_are_their_bytes_wherever_they_lie(npz, monkeypatch) -> None:
    cfg, _ = config.read([*SMALL[:6], "data=npz", f"data.path={npz}"])

    def at(path: Path | str) -> str:
        cfg.data.path = str(path)
        return digest(identity(config.values_of(cfg)))

    first = at(npz)
    (npz.parent / "there").mkdir()
    there = Path(shutil.copy(npz, npz.parent / "there" / "b.npz"))
    assert at(there) == first
    monkeypatch.chdir(there.parent)
    assert at("b.npz") == first
    content = bytearray(there.read_bytes())
    content[1000] ^= 1
    there.write_bytes(content)
    assert at(there) != first
    with pytest.raises(DataError, match=r"none\.npz"):
        at("none.npz")


def test_weights_are_their_bytes_wherever_they_lie(of, tmp_path) -> None:
    def saved(path: Path, seed: int) -> str:
        torch.manual_seed(seed)
        torch.save(ttl.create_backbone("test_resnet", weights=None).state_dict(), path)
        return str(path)

    first = of(backbone__weights=saved(tmp_path / "a.pth", 0))
    moved = shutil.copy(tmp_path / "a.pth", tmp_path / "b.pth")
    assert of(backbone__weights=str(moved)) == first != of()
    assert of(backbone__weights=saved(tmp_path / "b.pth", 1)) not in (first, of())
    with pytest.raises(WeightsError, match="there is no file"):
        of(backbone__weights="/nowhere/x.pth")


def test_a_sweep_looks_at_its_data_once(npz, monkeypatch) -> None:
    cfg, _ = config.read([*SMALL[:6], "data=npz", f"data.path={npz}"])
    known: dict = {}
    first = identity(config.values_of(cfg), known)
    monkeypatch.setattr(
        "ttl_lightning.data.sources.npz.file_hash",
        lambda _: pytest.fail("read again"),
    )
    cfg.seed = 3
    assert {**identity(config.values_of(cfg), known), "seed": 0} == first


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, ttl.train(overrides=SMALL, run_dir=folder)


@pytest.fixture
def old(trained, tmp_path) -> Path:
    """As a version before identities left it: no identity, and a hash of the configuration."""
    folder = tmp_path / "old"
    shutil.copytree(trained[0], folder)
    content = json.loads((folder / "result.json").read_text())
    del content["identity"], content["train"]["devices"]
    content["config_sha256"] = "0" * 64
    (folder / "result.json").write_text(json.dumps(content))
    edit(folder, "trainer", precision="auto")  # what was the default, and chosen as it came to
    return folder


def edit(folder: Path, group: str, **values) -> None:
    """Change a run's own configuration; None removes a key."""
    content = yaml.safe_load((folder / "config.yaml").read_text())
    for key, value in values.items():
        if value is None:
            del content[group][key]
        else:
            content[group][key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


def seen(folder: Path) -> str | None:
    return left_in(folder, RunResult.load(folder))


@pytest.mark.slow
def test_a_result_says_what_its_run_was(trained) -> None:
    folder, result = trained
    written = json.loads((folder / "result.json").read_text())
    assert written["identity"]["unit"] == "block2.1"
    assert written["identity"]["trainer"]["channels_last"] is True
    assert digest(written["identity"]) == written["config_sha256"] == result.config_sha256


def test_a_run_of_an_older_version_is_taken_as_done(old, monkeypatch) -> None:
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", None)
    again = ("cutoff=3", "data.num_workers=1", "data.cache=none", "trainer.precision=32-true")
    assert ttl.train(overrides=[*SMALL, *again], run_dir=old).status == "completed"
    # and what was measured then is kept by a run that leaves it to the machine
    auto = ttl.train(overrides=[*SMALL, "trainer.precision=auto"], run_dir=old)
    assert auto.status == "completed"


def test_a_run_of_an_older_version_is_judged_as_it_was(old, trained) -> None:
    assert seen(old) == trained[1].config_sha256
    result = RunResult.load(old)
    for changed in (
        {"train": {**result.train, "channels_last": False}},
        {"train": {**result.train, "precision": "bf16-mixed"}},
        {"weights": {"sha256": "f" * 64}},
        {"cutoff": "block3.1"},
        {"model": {**result.model, "mean": [0.1, 0.1, 0.1]}},
    ):
        other = replace(result, **changed)
        assert left_in(old, other) not in (trained[1].config_sha256, other.config_sha256), changed


@pytest.mark.parametrize("key", ["lr_floor", "loss"])
def test_a_key_that_an_older_run_did_not_have_is_not_todays_default(key, old, trained) -> None:
    edit(old, "protocol", **{key: None})
    assert seen(old) != trained[1].config_sha256


def test_what_an_older_run_names_is_not_made(old, trained, monkeypatch) -> None:
    (old / "left_here.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(old))
    edit(old, "data", _target_="left_here.exists")
    assert seen(old) not in (trained[1].config_sha256, "0" * 64)
    (old / "config.yaml").write_text("[")
    assert seen(old) == "0" * 64
    (old / "config.yaml").unlink()
    assert seen(old) == "0" * 64


def test_another_run_in_the_folder_is_told_by_what_differs(trained) -> None:
    other = ["seed=1", "protocol.learning_rate=1e-4", "data.num_workers=2"]
    with pytest.raises(ConfigError, match=r"configuration \(protocol\.learning_rate, seed\): give"):
        ttl.train(overrides=[*SMALL, *other], run_dir=trained[0])


def test_a_run_goes_on_with_as_many_devices_as_it_began_with(trained, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    result = RunResult.load(folder)
    result = replace(result, status="failed")
    result.train["devices"] = 4
    result.save(folder)
    with pytest.raises(ConfigError, match="means 1 here, and the run began with 4"):
        ttl.train(overrides=SMALL, run_dir=folder)

"""`data=npz` and `data=medmnist` read images and volumes: the data say which."""

from __future__ import annotations

import io
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import ttl_lightning as ttl
from ttl_lightning.cli import train as cli
from ttl_lightning.config import compose as config
from ttl_lightning.config.ranks import sourced
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError
from ttl_lightning.jobs.plan import Plan
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.build import create_data
from ttl_lightning.runs.check import check
from ttl_lightning.runs.fingerprint import identity

PLAIN = (
    "protocol.augment.resize_factor=1.0", "data.eval_view=whole", "data.in_channels=1",
    "backbone=resnet3d_10", "backbone.weights=null",
)  # fmt: skip
SMALL = (
    *PLAIN, "protocol=3d_fast", "strategy=ttl", "cutoff=block1", "data.image_size=[8,8,8]",
    "data.batch_size=4", "trainer.max_epochs=2", "trainer.accelerator=cpu",
)  # fmt: skip


def written(path: Path, shape: tuple[int, ...], **others: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    data = {}
    for split in ("train", "val", "test"):
        data[f"{split}_images"] = rng.integers(0, 256, (6, *shape), dtype=np.uint8)
        data[f"{split}_labels"] = np.array([[0], [1]] * 3, np.uint8)
    np.savez_compressed(path, **data | others)
    return path


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return written(tmp_path / "volumes.npz", (8, 8, 8))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return written(tmp_path / "images.npz", (12, 12))


def test_the_tensors_are_those_of_the_file(volumes: Path) -> None:
    cfg, _ = config.read(["data=npz", f"data.path={volumes}", "data.image_size=[8,8,8]", *PLAIN])
    data = create_data(config.typed(cfg).recipe)
    data.setup()
    with np.load(volumes) as file:
        for split in ("train", "val", "test"):
            (batch,) = data.plain_dataloader(split)
            pixels = batch["image"][:, 0] * data.std[0] + data.mean[0]
            np.testing.assert_allclose(pixels, file[f"{split}_images"] / 255, atol=1e-5)
            np.testing.assert_array_equal(batch["label"], file[f"{split}_labels"][:, 0])


@pytest.mark.parametrize("shape", [(8, 8, 8), (20, 12, 12)])
def test_the_configuration_is_that_of_volumes(shape, tmp_path: Path) -> None:
    path = written(tmp_path / "x.npz", shape)
    with_options = [f"data.path={path}", "data.resample_depth=false", "data.window_stride=4"]
    found, _ = config.read(["data=npz", *with_options])
    named, _ = config.read(["data=npz3d", *with_options])
    assert found == named
    assert OmegaConf.to_container(found.data)["name"] == "npz3d"


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 3)])
def test_images_stay_images(shape, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "x.npz", shape)
    cfg, _ = config.read(["data=npz", f"data.path={path}"])
    assert (cfg.data.name, cfg.data.image_size) == ("npz", 64)
    assert not caplog.records


@pytest.mark.parametrize(
    ("dataset", "name"), [("organmnist3d", "medmnist3d"), ("organamnist", "medmnist")]
)
def test_medmnist_goes_by_the_name(dataset: str, name: str) -> None:
    cfg, _ = config.read(["data=medmnist", f"data.dataset={dataset}"])
    assert (cfg.data.name, cfg.data.dataset) == (name, dataset)


def test_what_is_chosen_is_said(volumes: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.read(["data=npz", f"data.path={volumes}"])
    assert [record.getMessage() for record in caplog.records] == [
        f"note: data=npz: {volumes} holds volumes, read as data=npz3d."
    ]
    caplog.clear()
    config.read(["data=npz3d", f"data.path={volumes}"])
    assert not caplog.records


@pytest.mark.slow
def test_options_of_the_other_rank_are_refused(volumes: Path, images: Path) -> None:
    for key in ("resample_depth=true", "window_stride=4", "hu_window=[0,255]"):
        with pytest.raises(UnknownNameError, match=f"unknown key 'data.{key.partition('=')[0]}'"):
            config.read(["data=npz", f"data.path={images}", f"data.{key}"])
    for path, size, text in (
        (volumes, "28", r"data\.image_size must be \[slices, height, width\] .*, got 28\."),
        (images, "[8,8,8]", r"data\.image_size must be an integer"),
    ):
        cfg, _ = config.read(["data=npz", f"data.path={path}", f"data.image_size={size}", *PLAIN])
        with pytest.raises(ConfigError, match=text) as caught:
            check(config.typed(cfg))
        assert "\n" not in str(caught.value)


def test_a_network_of_the_other_rank_is_refused(volumes: Path, images: Path) -> None:
    cfg, _ = config.read(["data=npz", f"data.path={volumes}"])
    with pytest.raises(ConfigError, match=r"takes images, .* choose a 3D backbone such as"):
        check(config.typed(cfg))
    cfg, _ = config.read(["data=npz", f"data.path={images}", *PLAIN])
    with pytest.raises(ConfigError, match=r"takes volumes, .* got \[64, 64\]"):
        check(config.typed(cfg))


def test_real_adrenal_glands(request: pytest.FixtureRequest) -> None:
    path = request.config.rootpath.parent / "shared" / "data" / "adrenalmnist3d_64.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    cfg, _ = config.read(["data=npz", f"data.path={path}", "data.image_size=[28,28,28]", *PLAIN])
    check(config.typed(cfg))
    assert cfg.data.name == "npz3d"


def _with_header(path: Path, header: bytes) -> Path:
    """The same file with another header of the training images."""
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    parts["train_images.npy"] = header
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return path


@pytest.mark.parametrize("header", [b"", b"\x93NUMPY\x01\x00\x06\x00{'a':(", b"\x93NUMPY\x07\x00"])
def test_a_damaged_header_is_left_to_the_reader(volumes: Path, header: bytes) -> None:
    cfg, _ = config.read(["data=npz", f"data.path={_with_header(volumes, header)}"])
    assert cfg.data.name == "npz"


def test_only_the_header_is_read(volumes: Path) -> None:
    """A header of volumes with nothing behind it: the choice is made, the reader says the rest."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (4, 1000, 1000, 1000)}
    )
    cfg, _ = config.read([f"data.path={_with_header(volumes, header.getvalue())}", "data=npz"])
    assert cfg.data.name == "npz3d"
    with pytest.raises(DataError, match="train_images promises 4,000,000,000 bytes"):
        create_data(config.typed(cfg).recipe).setup()


@pytest.mark.parametrize("make", [lambda _: None, lambda p: p.mkdir(), os.mkfifo])
def test_what_is_no_file_is_left_to_the_reader(tmp_path: Path, make) -> None:
    make(tmp_path / "x.npz")
    cfg, _ = config.read(["data=npz", f"data.path={tmp_path / 'x.npz'}"])
    assert cfg.data.name == "npz"


def test_what_asks_for_no_file_composes_nothing() -> None:
    def never(_: list[str]) -> None:
        raise AssertionError

    for overrides in ([], ["seed=1", "-m"], ["data.path=x.npz"], ["~data=npz"]):
        assert sourced(overrides, never) == (overrides, None)


def test_an_experiments_choice_is_read_too(volumes: Path) -> None:
    def compose(_: list[str]):
        choices = {"hydra": {"runtime": {"choices": {"data": "npz"}}}}
        return OmegaConf.create({"data": {"path": str(volumes)}} | choices)

    found = sourced(["experiment=mine", "seed=1"], compose)
    assert found.overrides == ["experiment=mine", "seed=1", "data=npz3d"]


def test_the_command_line_hands_hydra_the_choice(
    volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(cli, "_hydra_main", lambda: seen.extend(sys.argv[1:]))
    for flags in ((), ("-m",)):
        seen.clear()
        given = ["data.hu_window=null", "data=npz", f"data.path={volumes}", *flags]
        monkeypatch.setattr(sys, "argv", ["ttl_lightning"])
        cli.run(given)
        expected = ["data.hu_window=null", "data=npz3d", f"data.path={volumes}"]
        assert seen == [*flags, *expected]


def test_jobs_of_a_sweep_each_have_their_own(
    volumes: Path, images: Path, workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from hydra import compose, initialize_config_module

    def composed(overrides):
        with initialize_config_module(config.MODULE, version_base=config.VERSION_BASE):
            return compose(config.ROOT, list(overrides), return_hydra_config=True)

    caplog.set_level(logging.INFO)
    plan = Plan(composed)
    groups = plan.groups(["data=npz", f"data.path={volumes},{images}", "seed=0,1", "cutoff=null"])
    assert [group.spec.data.name for group in groups] == ["npz3d", "npz"]
    assert sum("holds volumes" in record.getMessage() for record in caplog.records) == 1
    # npz3d by its own name is the same job
    groups = plan.groups(["data=npz,npz3d", f"data.path={volumes}", *SMALL])
    (group,) = groups
    job, overrides = plan.job(next(group.jobs()))
    assert "data=npz3d" in overrides
    assert job.spec.data.name == "npz3d"
    assert job.folder.relative_to(workdir).parts[:3] == ("multirun", "default", "npz3d")


@pytest.mark.slow
def test_a_run_by_either_name_is_one_run(tmp_path: Path, volumes: Path) -> None:
    folder = tmp_path / "run"
    result = ttl.train(overrides=["data=npz3d", f"data.path={volumes}", *SMALL], run_dir=folder)
    assert (result.status, result.data) == ("completed", "npz3d")
    scored = (folder / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    again = ttl.train(overrides=["data=npz", f"data.path={volumes}", *SMALL], run_dir=folder)
    assert again.identity == result.identity
    assert again.metrics == result.metrics
    assert (folder / "checkpoints" / "best.ckpt").stat().st_mtime_ns == scored
    cfg, _ = config.read(["data=npz3d", f"data.path={volumes}", *SMALL])
    assert (
        identity(config.values_of(cfg))["data"]["_target_"]
        == "ttl_lightning.data.npz3d.Npz3dDataModule"
    )


@pytest.mark.slow
def test_a_run_resumes_and_opens_again(tmp_path: Path, volumes: Path) -> None:
    asked = ["data=npz", f"data.path={volumes}", *SMALL]
    whole = ttl.train(overrides=asked, run_dir=tmp_path / "whole")
    folder = tmp_path / "paused"
    assert ttl.train(overrides=[*asked, "until_epoch=1"], run_dir=folder).status == "paused"
    result = ttl.train(overrides=asked, run_dir=folder)
    assert (result.status, result.train["epochs"]) == ("completed", 2)
    assert result.metrics == whole.metrics
    moved = shutil.move(volumes, tmp_path / "moved.npz")
    run = ttl.open_run(folder, [f"data.path={moved}"], device="cpu")
    batch = next(run.batches("test"))
    with np.load(moved) as file:
        seen = batch["image"][:, 0] * run.data.std[0] + run.data.mean[0]
        np.testing.assert_allclose(seen, file["test_images"][:4] / 255, atol=1e-5)
    with torch.no_grad():
        logits = run.after(batch["image"])
    assert logits.shape == (4, 2)
    assert RunResult.load(folder).data == "npz3d"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("data.label_columns=[foo]",), "unknown column for data.label_columns 'foo'. Allowed: "),
        (("data.path=nowhere.csv",), "data.path: no such file or folder: nowhere.csv"),
        (("data.fit=padd",), "unknown data.fit 'padd'; did you mean 'pad'?"),
        (("+data.foo=1",), "unknown key 'data.foo': CsvSource takes no such argument."),
    ],
)
def test_a_mistake_in_the_data_is_said_before_torch_is_imported(
    overrides: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.png,0\nb.png,1\n")
    command = [sys.executable, "-X", "importtime", "-m", "ttl_lightning", "data=csv"]
    done = subprocess.run(
        [*command, "data.path=list.csv", *overrides], cwd=tmp_path, capture_output=True, text=True
    )
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time")}
    said = [line for line in lines if not line.startswith("import time")]
    assert (done.returncode, len(said)) == (2, 1), said
    assert said[0].startswith(f"error: {text}")
    assert "ttl_lightning.data.tables.table" in imported
    assert not {"torch", "pytorch_lightning"} & imported
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]

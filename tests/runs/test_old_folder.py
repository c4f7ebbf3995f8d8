"""Folders that a version of before the rooms wrote: opened, gone on from, reported."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import ttl_lightning as ttl
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.sweep import write

ASKED = [
    "backbone=test_resnet", "backbone.weights=null", "strategy=ttl", "cutoff=block2", "name=old",
    "data.image_size=32", "data.train_size=24", "data.val_size=16", "data.test_size=15",
    "protocol.batch_size=8", "trainer.accelerator=cpu", "trainer.precision=32-true",
    "trainer.max_epochs=2",
]  # fmt: skip
# What that version did, and had no keys for or other defaults.
AS_THEN = [
    "data.fit=crop", "data.eval_view=center_crop", "protocol.head_init=random",
    "trainer.channels_last=false",
]  # fmt: skip
CONFIG = """\
cutoff: block2
seed: 0
name: old
resume: auto
until_epoch: null
backbone: {name: test_resnet, weights: null}
strategy: {name: ttl, pooling: true}
data:
  _target_: ttl_lightning.data.phantom.PhantomDataModule
  name: phantom
  level: texture
  difficulty: 0.5
  balance: 0.5
  train_size: 24
  val_size: 16
  test_size: 15
  image_size: 32
  in_channels: 3
  batch_size: 8
  num_workers: 0
  cache: memory
  cache_dir: null
  on_bad_image: raise
  max_bad: 10
  on_duplicate: raise
task:
  _target_: ttl_lightning.tasks.classification.ClassificationTask
  _partial_: true
  class_weights: null
protocol:
  optimizer: {_target_: torch.optim.AdamW, _partial_: true, weight_decay: 0.01}
  learning_rate: 0.001
  pretrained_lr_factor: 1.0
  loss: cross_entropy
  focal_gamma: 2.0
  scheduler:
    _target_: ttl_lightning.tasks.schedules.cosine_with_warmup
    _partial_: true
    warmup_fraction: 0.1
  scheduler_interval: step
  monitor: val/auprc
  monitor_mode: max
  lr_floor: null
  max_epochs: 10
  batch_size: 8
  augment:
    _target_: ttl_lightning.data.transforms.Augment
    resize_factor: 1.142857
    crop_scale: [0.6, 1.0]
    crop_ratio: [0.9, 1.1]
    rotation_degrees: 7.0
    horizontal_flip: 0.0
trainer:
  _target_: pytorch_lightning.Trainer
  accelerator: cpu
  devices: 1
  max_epochs: 2
  precision: 32-true
  channels_last: null
  batch_size_finder: null
  gradient_clip_val: null
  accumulate_grad_batches: 1
  check_val_every_n_epoch: 1
  deterministic: false
  limit_train_batches: 1.0
  limit_val_batches: 1.0
  limit_test_batches: 1.0
  fast_dev_run: false
logger: {_target_: null}
"""
TRAIN = ("precision", "channels_last", "batch_size", "epochs", "best_epoch", "images_per_s",
         "peak_memory_mb", "wall_s")  # fmt: skip
MODEL = ("task", "class_names", "pooling", "in_channels", "image_size", "mean", "std")


def as_then(folder: Path) -> Path:
    """The folder with what that version wrote down, in its words."""
    path = folder / "result.json"
    content = json.loads(path.read_text())
    del content["identity"]
    content["train"] = {key: content["train"][key] for key in TRAIN}
    content["model"] = {key: content["model"][key] for key in MODEL}
    content["config_sha256"] = "f19b269c758083b1651585577903f82bd5078845579e244c3e0a8f5d310f3a16"
    content["overrides"] = ASKED
    path.write_text(json.dumps(content))
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run."""
    folder = tmp_path_factory.mktemp("old") / "done"
    ttl.train(overrides=[*ASKED, *AS_THEN], run_dir=folder)
    return as_then(folder)


def test_it_is_loaded_and_opened_and_predicts_as_it_did(old: Path) -> None:
    run, predictor = ttl.open_run(old, device="cpu"), ttl.load(old)
    assert predictor.class_names == run.data.class_names == ("normal", "ground_glass")
    assert predictor.preprocessing.view == run.data.view
    assert (run.data.view.fit, run.data.view.eval_view) == ("crop", "center_crop")
    images = torch.cat([batch["image"] for batch in run.batches("test")])
    with torch.no_grad():
        got = predictor(images).double().softmax(1)[:, 1].numpy()
    with (old / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    told = [float(row["probability/ground_glass"]) for row in rows]
    np.testing.assert_allclose(got, told, atol=1e-6)


def test_it_is_not_run_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", None)
    result = ttl.train(overrides=[*ASKED, *AS_THEN], run_dir=old)
    assert result == RunResult.load(old)
    assert not result.identity


@pytest.mark.slow
def test_one_that_is_paused_goes_on_to_the_same_end(old: Path, tmp_path: Path) -> None:
    folder = tmp_path / "paused"
    ttl.train(overrides=[*ASKED, *AS_THEN, "until_epoch=1"], run_dir=folder)
    as_then(folder)
    result = ttl.train(overrides=[*ASKED, *AS_THEN], run_dir=folder)
    assert (result.status, result.train["epochs"]) == ("completed", 2)
    assert "head_init" not in result.train  # it did not begin anew
    assert result.metrics == RunResult.load(old).metrics


def test_it_is_reported(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "done")
    summary = write(tmp_path)
    assert (summary.completed, summary.unreadable) == (1, 0)
    with (tmp_path / "summary.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["cutoff"], row["test/auprc"]) == (
        "block2.1",
        str(RunResult.load(old).metrics["test/auprc"]),
    )

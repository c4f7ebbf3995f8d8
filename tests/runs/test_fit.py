"""A whole run in this process: what it writes, how it goes on, and what breaks it."""

import csv
import errno
import hashlib
import importlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from sklearn.metrics import average_precision_score, roc_auc_score

import ttl_lightning as ttl
from tests.data.making import data_of
from ttl_lightning.errors import (
    ConfigError,
    DataError,
    NonFiniteLossError,
    TTLError,
    UnknownNameError,
    WeightsError,
)
from ttl_lightning.records.schema import RunResult

module = importlib.import_module("ttl_lightning.runs.build")

SMALL = [
    "backbone=test_resnet",
    "backbone.weights=null",
    "data.image_size=32",
    "data.train_size=24",
    "data.val_size=16",
    "data.test_size=15",
    "protocol.batch_size=8",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=2",
]
TTL = [*SMALL, "strategy=ttl", "cutoff=block2"]


def run(folder, *overrides):
    return ttl.train(overrides=[*TTL, *overrides], run_dir=folder)


def predictions(folder):
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def weights(folder, name="best"):
    state = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return state["state_dict"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, run(folder)


def test_a_run_leaves_what_is_promised(finished) -> None:
    folder, result = finished
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "config.yaml", "result.json", "predictions.csv", "checkpoints", "metrics.csv", "run.html",
        "most_wrong.png",
        *(f"{name}.{kind}" for name in ("roc", "pr", "curves", "confusion", "reliability")
          for kind in ("png", "pdf", "svg")),
    }  # fmt: skip
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    written = json.loads((folder / "result.json").read_text())
    assert written["schema"] == 1
    assert written["status"] == result.status == "completed"
    assert (written["strategy"], written["cutoff"], written["cutoff_index"]) == (
        "ttl",
        "block2.1",
        3,
    )
    assert written["train"]["epochs"] == 2
    assert written["complexity"]["params"] < written["complexity"]["untruncated"]["params"]
    assert RunResult.load(folder) == RunResult.load(folder)


def test_metrics_are_those_of_the_predictions(finished) -> None:
    folder, result = finished
    rows = predictions(folder)
    for split, count in (("val", 16), ("test", 15)):
        chosen = [row for row in rows if row["split"] == split]
        assert len({row["id"] for row in chosen}) == len(chosen) == count
        truth = [row["label"] == "ground_glass" for row in chosen]
        scores = [float(row["probability/ground_glass"]) for row in chosen]
        assert result.metrics[f"{split}/auroc"] == pytest.approx(
            roc_auc_score(truth, scores), abs=1e-6
        )
        auprc = average_precision_score(truth, scores)
        assert result.metrics[f"{split}/auprc"] == pytest.approx(auprc, abs=1e-6)


def test_the_history_has_a_row_for_each_epoch_with_its_own_loss(finished) -> None:
    folder, _ = finished
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert len({row["train/loss"] for row in rows}) == 2
    assert all(row["val/auprc"] for row in rows)


@pytest.mark.slow
def test_what_was_left_out_of_files_is_in_the_result(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for k in range(16):
        path = tmp_path / "images" / "ab"[k % 2] / f"{k}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pages = [Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)) for _ in range(9)]
        pages[0].save(path, save_all=True, append_images=pages[1:] if k < 5 else [])
    options = [option for option in TTL if not option.startswith("data.")]
    options += ["data=folder", f"data.path={tmp_path / 'images'}", "data.image_size=32"]
    ttl.train(overrides=options, run_dir=tmp_path / "run")
    notes = json.loads((tmp_path / "run" / "result.json").read_text())["notes"]["data"]
    assert "5 of 16 files hold several images (up to 9: a/0.tif)" in notes


def test_a_loaded_run_predicts_as_it_did(finished) -> None:
    folder, _ = finished
    task = ttl.load(folder)
    assert not task.training
    assert ttl.load(folder / "checkpoints" / "best.ckpt").class_names == task.class_names
    data = phantoms()
    batch = next(iter(data.test_dataloader()))
    with torch.inference_mode():
        got = task.predict_step(batch)["probabilities"][:, 1].numpy()
    told = [
        float(row["probability/ground_glass"])
        for row in predictions(folder)
        if row["split"] == "test"
    ]
    np.testing.assert_allclose(got, told[: len(got)], atol=1e-6)


@pytest.mark.slow
def test_test_time_augmentation_is_the_mean_of_views_at_test_alone(finished, tmp_path) -> None:
    from ttl_lightning.data.transforms import warp, warps_at
    from ttl_lightning.data.views.dataset import as_batch
    from ttl_lightning.data.views.evaluation import spread_points

    _, plain = finished
    result = run(tmp_path / "tta", "data.tta=3")
    assert "means of 3 views" in result.notes["data"]
    kept = [key for key in plain.metrics if key.startswith("val/")]
    assert {key: result.metrics[key] for key in kept} == {key: plain.metrics[key] for key in kept}
    data, model = phantoms(), ttl.load(tmp_path / "tta").model
    dataset, rows = data._prepared.datasets["test"], data._prepared.samples.rows("test")
    stored = as_batch([dataset.store.read(int(row)) for row in rows])
    first = data.evaluation
    others = warps_at(data.augment, spread_points(3))
    views = [first.read(stored), *(warp(stored, w[None].repeat(15, axis=0), 32) for w in others)]
    with torch.inference_mode():
        mean, std = (torch.tensor(x)[:, None, None] for x in (data.mean, data.std))
        each = [model((view - mean) / std).double().softmax(1)[:, 1] for view in views]
    told = [row for row in predictions(tmp_path / "tta") if row["split"] == "test"]
    got = [float(row["probability/ground_glass"]) for row in told]
    np.testing.assert_allclose(got, np.mean([p.numpy() for p in each], axis=0), atol=1e-6)
    # two epochs from a head of zeros move little
    assert max(np.abs(got - each[0].numpy())) > 1e-5


def phantoms():
    from ttl_lightning.data.sources.phantom import PhantomSource
    from ttl_lightning.data.transforms import Augment
    from ttl_lightning.models.backbones.factory import pixel_statistics

    mean, std = pixel_statistics("test_resnet", 3)
    data = data_of(
        PhantomSource,
        train_size=24, val_size=16, test_size=15, image_size=32, batch_size=8, mean=mean, std=std,
        augment=Augment(resize_factor=1.142857, horizontal_flip=0.0),  # as protocol=fast
    )  # fmt: skip
    data.setup()
    return data


@pytest.mark.slow
def test_the_same_run_twice_is_equal_bit_by_bit(finished, tmp_path) -> None:
    folder, result = finished
    again = run(tmp_path / "again")
    assert again.metrics == result.metrics
    first, second = weights(folder), weights(tmp_path / "again")
    assert all(torch.equal(first[key], second[key]) for key in first)


class Stop(Callback):
    """Ends the process, as far as a test can, in the middle of an epoch."""

    def __init__(self, epoch) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            raise OSError("the power went")


@pytest.mark.parametrize("protocol", [pytest.param("fast", marks=pytest.mark.slow), "2d"])
def test_a_run_cut_off_goes_on_to_the_same_end(protocol, tmp_path, monkeypatch) -> None:
    options = (f"protocol={protocol}", "trainer.max_epochs=5", "protocol.learning_rate=0.01")
    options += ("protocol.scheduler.patience=0",) if protocol == "2d" else ()
    whole = run(tmp_path / "whole", *options)
    plain = module.progress
    monkeypatch.setattr(module, "progress", lambda _: Stop(3))
    with pytest.raises(OSError, match="the power went"):
        run(tmp_path / "cut", *options)
    assert RunResult.load(tmp_path / "cut").status == "failed"
    monkeypatch.setattr(module, "progress", plain)
    resumed = run(tmp_path / "cut", *options)
    assert resumed.status == "completed"
    assert resumed.metrics == whole.metrics
    for name in ("best", "last"):
        one, other = weights(tmp_path / "whole", name), weights(tmp_path / "cut", name)
        assert all(torch.equal(one[key], other[key]) for key in one)
    drop = {"seconds"}
    texts = [(tmp_path / d / "metrics.csv").read_text() for d in ("whole", "cut")]
    tables = [list(csv.DictReader(text.splitlines())) for text in texts]
    stripped = [
        [{k: v for k, v in row.items() if k not in drop} for row in table] for table in tables
    ]
    assert stripped[0] == stripped[1]


@pytest.mark.parametrize("protocol", ["fast", pytest.param("2d", marks=pytest.mark.slow)])
def test_a_paused_run_goes_on_to_the_same_end(protocol, tmp_path) -> None:
    options = (f"protocol={protocol}", "trainer.max_epochs=5", "protocol.learning_rate=0.01")
    options += ("protocol.scheduler.patience=0",) if protocol == "2d" else ()
    whole = run(tmp_path / "whole", *options)
    folder = tmp_path / "paused"
    for epochs in (1, 3):
        paused = run(folder, *options, f"until_epoch={epochs}")
        assert (paused.status, paused.train["epochs"]) == ("paused", epochs)
        assert not any(key.startswith("test/") for key in paused.metrics)
        assert not (folder / "predictions.csv").exists()
    assert run(folder, *options).metrics == whole.metrics
    for name in ("best", "last"):
        ours, theirs = weights(folder, name), weights(tmp_path / "whole", name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 5


@pytest.mark.slow
def test_a_pause_after_the_end_is_the_end(tmp_path) -> None:
    assert run(tmp_path / "run", "until_epoch=7").status == "completed"


def test_a_paused_run_shows_its_best_epoch_so_far(tmp_path) -> None:
    paused = run(tmp_path / "run", "trainer.max_epochs=4", "until_epoch=3")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        scores = [float(row["val/auprc"]) for row in csv.DictReader(file)]
    assert paused.metrics["val/auprc"] == pytest.approx(max(scores))


def test_a_completed_run_is_not_run_again(finished, monkeypatch) -> None:
    folder, result = finished
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", None)
    assert run(folder).metrics == result.metrics


def test_a_folder_of_another_configuration_is_left_alone(finished) -> None:
    folder, _ = finished
    with pytest.raises(ConfigError, match="holds a run of another configuration"):
        run(folder, "seed=1")
    assert RunResult.load(folder).status == "completed"


def test_a_damaged_last_checkpoint_is_named(finished, tmp_path) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:100])
    result = RunResult.load(tmp_path / "run")
    result = replace(result, status="failed")
    result.save(tmp_path / "run")
    with pytest.raises(WeightsError, match=r"last\.ckpt cannot be read"):
        run(tmp_path / "run")


def test_no_other_weights_are_scored_for_the_best_ones(finished, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    best = folder / "checkpoints" / "best.ckpt"
    assert finished[1].train["scored"] == {
        "file": "checkpoints/best.ckpt",
        "sha256": hashlib.sha256(best.read_bytes()).hexdigest(),
    }
    best.unlink()
    result = RunResult.load(folder)
    result = replace(result, status="failed")
    result.save(folder)
    with pytest.raises(WeightsError, match=r"best\.ckpt is gone.*resume=never"):
        run(folder)
    assert RunResult.load(folder).status == "failed"


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_what_was_there_stays(finished, tmp_path, monkeypatch) -> None:
    real, written = os.fsync, []

    def full(handle: int) -> None:
        written.append(handle)
        if len(written) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TTLError, match=r"No space left on device: free some space"):
        run(tmp_path / "run")
    monkeypatch.setattr(os, "fsync", real)
    assert RunResult.load(tmp_path / "run").status == "running"
    assert not list((tmp_path / "run").rglob(".*.part"))
    assert run(tmp_path / "run").metrics == finished[1].metrics


@pytest.mark.slow
def test_early_stopping_ends_a_run(tmp_path) -> None:
    options = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1",
               "callbacks.early_stopping.min_delta=1.0", "trainer.max_epochs=5")  # fmt: skip
    result = run(tmp_path / "run", *options)
    assert (result.status, result.train["epochs"]) == ("completed", 2)


@pytest.mark.slow
def test_averaged_weights_are_what_is_validated_kept_and_tested(tmp_path) -> None:
    fixed = ("callbacks=ema", "callbacks.ema.decay=1.0", "trainer.max_epochs=3")
    result = run(tmp_path / "run", *fixed, "protocol.learning_rate=0.05")
    # an average that takes nothing of what is trained stays where training began
    torch.manual_seed(0)
    fresh = run(tmp_path / "fresh", "trainer.max_epochs=1", "protocol.learning_rate=1e-12")
    assert result.metrics["test/auroc"] == pytest.approx(fresh.metrics["test/auroc"])
    moved = weights(tmp_path / "run", "last"), weights(tmp_path / "run")
    kept = [key for key, value in moved[0].items() if value.is_floating_point()]
    assert all(torch.equal(moved[0][key], moved[1][key]) for key in kept)
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    conv = "model.backbone.layer1.0.conv1.weight"
    assert not torch.equal(state["current_model_state"][conv], state["state_dict"][conv])
    folder = tmp_path / "paused"
    run(folder, *fixed, "protocol.learning_rate=0.05", "until_epoch=1")
    assert run(folder, *fixed, "protocol.learning_rate=0.05").metrics == result.metrics


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("+callbacks.a._target_=pytorch_lightning.callbacks.StochasticWeightAveraging",
         r"callbacks\.a: .*swa_lrs"),
        ("+callbacks.a={_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, "
         "swa_lrs: 0.1}", r"nobody would score what it makes: callbacks=ema"),
        ("+callbacks.a._target_=torch.nn.Identity", r"Identity is no callback of Lightning"),
        ("+trainer.callbacks=[a]", r"trainer\.callbacks cannot be given: callbacks\.NAME"),
    ],
)  # fmt: skip
def test_a_callback_that_would_be_no_use_is_refused(option, text, tmp_path) -> None:
    with pytest.raises(ConfigError, match=text):
        run(tmp_path / "run", option)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_labels_that_are_not_known_count_in_no_metric(tmp_path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,split,edema,effusion"]
    for k in range(72):
        pixels = rng.integers(0, 256, (32, 32), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        known = ["", "-1", "0", "1"][k % 4]
        rows.append(f"{k}.png,{('train', 'val', 'test')[k % 3]},{known},{k // 4 % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    base = [o for o in TTL if not o.startswith(("data.train", "data.val", "data.test"))]
    options = ["data=csv", f"data.path={tmp_path / 'labels.csv'}", "data.missing=ignore",
               "data.label_columns=[edema,effusion]", "data.uncertain=ignore"]  # fmt: skip
    result = ttl.train(overrides=[*base, *options], run_dir=tmp_path / "run")
    table = [row for row in predictions(tmp_path / "run") if row["split"] == "test"]
    known = [row for row in table if row["label/edema"] not in ("", "nan")]
    assert (len(table), len(known)) == (24, 12)
    truth = [float(row["label/edema"]) for row in known]
    scores = [float(row["probability/edema"]) for row in known]
    assert result.metrics["test/auroc/edema"] == pytest.approx(roc_auc_score(truth, scores))


def test_never_resuming_starts_anew(finished, tmp_path) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    assert run(tmp_path / "run", "resume=never").metrics == finished[1].metrics


@pytest.mark.slow
def test_a_paused_run_that_was_moved_still_knows_its_best_epoch(tmp_path) -> None:
    # nothing changes from epoch to epoch, so the first stays the best
    options = (*SMALL, "strategy=ffe", "protocol.head_init=random", "protocol.learning_rate=1e-12",
               "trainer.max_epochs=3")  # fmt: skip
    ttl.train(overrides=[*options, "until_epoch=1"], run_dir=tmp_path / "paused")
    shutil.move(tmp_path / "paused", tmp_path / "moved")
    best = (tmp_path / "moved" / "checkpoints" / "best.ckpt").read_bytes()
    result = ttl.train(overrides=options, run_dir=tmp_path / "moved")
    assert (result.train["epochs"], result.train["best_epoch"]) == (3, 0)
    assert (tmp_path / "moved" / "checkpoints" / "best.ckpt").read_bytes() == best


@pytest.mark.slow
def test_weights_of_a_run_start_another_with_other_classes(finished, tmp_path) -> None:
    folder, _ = finished
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8)
    labels = np.arange(60)[:, None] % 3
    np.savez(
        tmp_path / "three.npz",
        **{f"{s}_images": images[i::3] for i, s in enumerate(("train", "val", "test"))},
        **{f"{s}_labels": labels[:20] for s in ("train", "val", "test")},
    )
    options = ["data=npz", f"data.path={tmp_path / 'three.npz'}", f"backbone.weights={folder}"]
    base = [
        o for o in TTL if not o.startswith(("data.train", "data.val", "data.test", "backbone.w"))
    ]
    result = ttl.train(overrides=[*base, *options], run_dir=tmp_path / "second")
    assert result.weights is not None
    assert result.weights["matched"] == result.weights["total"] > 0
    assert len(result.model["class_names"]) == 3


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path) -> None:
    with pytest.raises(NonFiniteLossError, match="not finite"):
        run(tmp_path / "run", "protocol.learning_rate=1e30", "trainer.max_epochs=20")
    result = RunResult.load(tmp_path / "run")
    assert result.status == "failed"
    assert "NonFiniteLossError" in str(result.error)
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    if best.exists():
        assert all(t.isfinite().all() for t in weights(tmp_path / "run").values())


def test_the_best_finite_checkpoint_is_kept(tmp_path, monkeypatch) -> None:
    class Poison(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.current_epoch == 1 and batch_idx == 1:
                batch["image"][:] = torch.nan

    monkeypatch.setattr(module, "progress", lambda _: Poison())
    with pytest.raises(NonFiniteLossError, match="epoch 1"):
        run(tmp_path / "run", "trainer.max_epochs=3")
    assert all(t.isfinite().all() for t in weights(tmp_path / "run").values())


@pytest.mark.slow
def test_training_ends_when_the_rate_is_below_the_floor(tmp_path) -> None:
    options = ["protocol=2d", "protocol.scheduler.patience=0", "protocol.learning_rate=1e-6"]
    options += ["protocol.lr_floor=4e-7", "trainer.max_epochs=40"]
    result = run(tmp_path / "run", *options)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rates = [float(row["lr-head"]) for row in csv.DictReader(file)]
    assert len(rates) == result.train["epochs"] < 40
    assert min(rates) >= 4e-7  # the epoch that would train below it does not come


@pytest.mark.parametrize(
    ("overrides", "error", "text"),
    [
        (["cutoff=blok2"], UnknownNameError, "did you mean 'block2'"),
        (["cutoff=99"], UnknownNameError, "integer from 1 to 5"),
        (["cutoff=null"], ConfigError, "strategy=ttl needs a cutoff"),
        (["strategy=ftl"], ConfigError, "takes no cutoff"),
        (["backbone=resnt50"], UnknownNameError, "did you mean 'resnet50'"),
        (["backbone=test_vit", "data.image_size=40"], ConfigError, "into patches of 16x16 pixels"),
        (
            ["backbone=vgg11", "data.image_size=16", "cutoff=full"],
            ConfigError,
            "the smallest data.image_size that fits is 32",
        ),
        (["backbone.weights=/nowhere/x.pth"], WeightsError, "there is no file"),
        (["backbone.weights=imagnet"], UnknownNameError, "did you mean 'imagenet'"),
        (["data.train_size=0"], ConfigError, "data.train_size"),
        (["data=npz", "data.path=/nowhere.npz"], DataError, "/nowhere.npz"),
        (["data=npz"], ConfigError, "data.path"),
        (["protocol.learning_rate=-1"], ConfigError, "protocol.learning_rate"),
        (["seed=-1"], ConfigError, "seed"),
        (["resume=perhaps"], UnknownNameError, "resume"),
        (["protocol.monitor=val/auroc2"], UnknownNameError, "protocol.monitor"),
        (["trainer.precision=bf17"], ConfigError, "bf17"),
        (["data.batch_size=[1"], ConfigError, "override"),
        (
            ["protocol.optimizer.weight_decay=true"],
            ConfigError,
            r"protocol\.optimizer\.weight_decay must be a number, got true",
        ),
        (
            ["+protocol.optimizer.foo=2"],
            ConfigError,
            r"unknown key 'protocol\.optimizer\.foo': AdamW takes no such argument",
        ),
        (["+data.foo=2"], ConfigError, r"unknown key 'data\.foo'"),
        (["+trainer.foo=2"], ConfigError, r"unknown key 'trainer\.foo'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(
    overrides, error, text, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = [o for o in TTL if not (o.startswith("data.") and "data=npz" in overrides)]
    with pytest.raises(error, match=text) as caught:
        ttl.train(overrides=[*kept, *overrides])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_logger_is_added_to_the_history(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    run(tmp_path / "run", "logger=tensorboard")
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
    assert (tmp_path / "run" / "metrics.csv").is_file()


def test_a_logger_that_is_not_installed_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(importlib.sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="WandbLogger"):
        run(tmp_path / "run", "logger=wandb")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_measured_precision_is_recorded_and_kept(tmp_path, monkeypatch) -> None:
    options = ("trainer.precision=auto",)
    first = run(tmp_path / "run", *options)
    assert first.train["precision"] in ("32-true", "bf16-mixed")
    first = replace(first, status="failed")
    first.train["precision"] = "bf16-mixed"
    first.save(tmp_path / "run")
    monkeypatch.setattr(module, "choose", None)  # to measure again would fail
    again = run(tmp_path / "run", *options)
    assert again.train["precision"] == "bf16-mixed"


@pytest.mark.slow
def test_images_that_only_the_cut_network_can_take(tmp_path) -> None:
    result = run(tmp_path / "run", "backbone=vgg11", "backbone.weights=null", "data.image_size=16")
    assert result.complexity["untruncated"] is None
    assert "too small" in result.notes["complexity/untruncated"]


@pytest.mark.parametrize("mistake", ["backbone.weights=/nowhere/x.pth", "data.batch_size=0"])
def test_a_mistake_in_starting_anew_loses_no_earlier_run(mistake, finished, tmp_path) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    before = (tmp_path / "run" / "result.json").read_bytes()
    with pytest.raises(TTLError):
        run(tmp_path / "run", "resume=never", mistake)
    assert (tmp_path / "run" / "result.json").read_bytes() == before
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn import metrics as sk
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from ttl_lightning.errors import ConfigError, DataError, NonFiniteLossError, UnknownNameError
from ttl_lightning.tasks import base
from ttl_lightning.tasks.classification import ClassificationTask
from ttl_lightning.tasks.schedules import cosine_with_warmup

SGD = functools.partial(torch.optim.SGD, lr=0.1)


class Tiny(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x.flatten(1))))

    def param_groups(self, *, lr: float, pretrained_lr_factor: float) -> list[dict[str, Any]]:
        return [
            {"params": list(self.head.parameters()), "lr": lr, "name": "head"},
            {
                "params": list(self.body.parameters()),
                "lr": lr * pretrained_lr_factor,
                "name": "body",
            },
        ]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def samples(n: int, task: str = "binary") -> list[dict[str, Tensor]]:
    rng = np.random.default_rng(0)
    images = torch.tensor(rng.normal(size=(n, 1, 2, 2)), dtype=torch.float32)
    rows = []
    for index, image in enumerate(images):
        signs = (image.flatten() > 0).float()
        labels = {
            "binary": signs[0].long(),
            "multiclass": (signs[0] + signs[1]).long(),
            "multilabel": signs[:3],
        }
        rows.append({"image": image, "label": labels[task], "id": torch.tensor(index)})
    return rows


def loader(rows: list[dict[str, Tensor]], batch_size: int = 16) -> DataLoader[dict[str, Tensor]]:
    return DataLoader(rows, batch_size=batch_size)  # type: ignore[arg-type]


def trainer(epochs: int = 1, **settings: Any) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def create(classes: int = 2, **settings: Any) -> ClassificationTask:
    usual: dict[str, Any] = {"optimizer": SGD, "learning_rate": 0.5, "monitor": "val/loss"}
    return ClassificationTask(Tiny(classes), **(usual | settings))


class Watch(pl.Callback):
    def __init__(self, key: Callable[[pl.Trainer], float]) -> None:
        self.key, self.values = key, list[float]()

    def on_train_epoch_end(self, trainer: pl.Trainer, _module: pl.LightningModule) -> None:
        self.values.append(self.key(trainer))


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multiclass", 3), ("multilabel", 3)])
def test_learns_what_can_be_separated(task: str, classes: int) -> None:
    rows = samples(128, task)
    module = create(classes, task=task, learning_rate=5.0)
    losses = Watch(lambda t: float(t.callback_metrics["val/loss"]))
    run = trainer(12, callbacks=[losses])
    run.fit(module, loader(rows), loader(rows))
    assert losses.values[-1] < 0.5 * losses.values[0]
    auroc = module.scores["val"].values["auroc"]
    assert auroc is not None
    assert auroc > 0.97
    assert float(run.callback_metrics["train/loss"]) < 0.5


def test_logs_the_mean_over_samples_of_uneven_batches() -> None:
    rows = samples(21)
    module = create(learning_rate=0.0)
    run = trainer()
    run.fit(module, loader(rows, 8), loader(rows, 4))
    images, labels = (
        torch.stack([r["image"] for r in rows]),
        torch.stack([r["label"] for r in rows]),
    )
    expected = nn.functional.cross_entropy(module(images), labels).item()
    assert float(run.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-6)
    assert module.scores["val"].values["loss"] == pytest.approx(expected, rel=1e-6)
    probabilities = module(images).double().softmax(1)[:, 1].detach().numpy()
    area = sk.roc_auc_score(labels, probabilities)
    assert float(run.callback_metrics["val/auroc"]) == pytest.approx(area, rel=1e-6)
    np.testing.assert_allclose(module.predictions["val"].probabilities[:, 1], probabilities)


@pytest.mark.parametrize("batch_size", [1, 4, 21])
def test_scores_do_not_depend_on_batches_or_their_order(batch_size: int) -> None:
    rows, module = samples(21), create(class_weights=torch.tensor([1.5, 1.0]))
    run = trainer(inference_mode=True)
    run.test(module, loader(rows, 7), verbose=False)
    expected, first = module.scores["test"], module.predictions["test"]
    repeated = [*rows[::-1], rows[3]]
    run.test(module, loader(repeated, batch_size), verbose=False)
    assert module.scores["test"].values == pytest.approx(expected.values, rel=1e-6)
    again = module.predictions["test"]
    np.testing.assert_array_equal(again.ids, np.arange(21))
    np.testing.assert_allclose(again.probabilities, first.probabilities, rtol=1e-6)
    np.testing.assert_array_equal(again.labels, first.labels)


def test_predicts_ids_and_probabilities() -> None:
    rows, module = samples(6), create()
    unlabelled = [{key: row[key] for key in ("image", "id")} for row in rows]
    batches = trainer().predict(module, loader(unlabelled, 4))
    assert batches is not None
    table = {key: torch.cat([b[key] for b in batches]) for key in ("id", "probabilities")}  # type: ignore[index]
    assert table["id"].tolist() == list(range(6))
    images = torch.stack([row["image"] for row in rows])
    assert table["probabilities"].dtype == torch.float64
    torch.testing.assert_close(table["probabilities"], module(images).detach().double().softmax(1))


def test_windows_are_scored_by_study_and_their_loss_by_window() -> None:
    rows = samples(40)
    labels = torch.stack([row["label"] for row in rows])
    for index, row in enumerate(rows):
        study = index % 8
        row["study"], row["study_label"] = torch.tensor(study), labels[study::8].amax()
    module = create(learning_rate=0.0)
    trainer().test(module, loader(rows[::-1], 7), verbose=False)
    table, images = module.predictions["test"], torch.stack([row["image"] for row in rows])
    positive = module(images).detach().double().softmax(1)[:, 1]
    highest = positive.reshape(5, 8).amax(0).numpy()
    assert table.ids.tolist() == list(range(8))
    np.testing.assert_allclose(table.probabilities, np.stack([1 - highest, highest], 1), rtol=1e-6)
    assert table.labels.tolist() == labels.reshape(5, 8).amax(0).tolist()
    loss = nn.functional.cross_entropy(module(images), labels).item()
    assert module.scores["test"].values["loss"] == pytest.approx(loss, rel=1e-6)


def test_the_focal_loss_is_trained_and_scored() -> None:
    rows = samples(21)
    module = create(learning_rate=0.0, loss="focal", focal_gamma=1.0)
    run = trainer()
    run.fit(module, loader(rows, 21), loader(rows, 4))
    images, labels = (torch.stack([r[key] for r in rows]) for key in ("image", "label"))
    p = module(images).softmax(1)[torch.arange(21), labels].detach()
    expected = float(((1 - p) * -p.log()).mean())
    assert float(run.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-5)
    assert module.scores["val"].values["loss"] == pytest.approx(expected, rel=1e-5)


def test_groups_keep_their_rates_under_a_schedule_by_steps() -> None:
    schedule = functools.partial(cosine_with_warmup, warmup_fraction=0.5)
    module = create(scheduler=schedule, scheduler_interval="step", pretrained_lr_factor=0.1)
    rates = Watch(lambda t: t.optimizers[0].param_groups[0]["lr"])
    run = trainer(2, callbacks=[rates])
    run.fit(module, loader(samples(32), 8), loader(samples(8)))
    # Eight steps, four of them rising: after epoch one the rate is at its top, after two at zero.
    assert rates.values == pytest.approx([0.5, 0.0])
    head, body = run.optimizers[0].param_groups
    assert (head["name"], body["name"]) == ("head", "body")
    assert body["initial_lr"] == pytest.approx(head["initial_lr"] / 10)


@pytest.mark.parametrize("every", [1, 2])
def test_plateau_looks_only_after_validation(every: int) -> None:
    schedule = functools.partial(ReduceLROnPlateau, mode="min", factor=0.5, patience=0, threshold=9)
    module = create(scheduler=schedule, learning_rate=1.0)
    rates = Watch(lambda t: t.optimizers[0].param_groups[0]["lr"])
    run = trainer(4, callbacks=[rates], check_val_every_n_epoch=every)
    run.fit(module, loader(samples(32)), loader(samples(8)))
    final = run.optimizers[0].param_groups[0]["lr"]
    assert final == 0.5 ** (4 // every)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_plateau_without_validation_is_found_before_training() -> None:
    module = create(scheduler=ReduceLROnPlateau)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ConfigError, match="ReduceLROnPlateau needs validation"):
        trainer(limit_val_batches=0).fit(module, loader(samples(8)), loader(samples(8)))
    with pytest.raises(ConfigError, match="ReduceLROnPlateau needs validation"):
        trainer().fit(module, loader(samples(8)))
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_before_the_optimizer_steps() -> None:
    rows = samples(24)
    rows[9]["image"] = torch.full((1, 2, 2), torch.nan)
    module = create()
    run = trainer(5, num_sanity_val_steps=0)
    with pytest.raises(NonFiniteLossError, match="in epoch 0 at step 2; lower protocol"):
        run.fit(module, loader(rows, 4), loader(samples(8)))
    assert run.global_step == 2
    assert all(value.isfinite().all() for value in module.state_dict().values())


@pytest.mark.parametrize(("batches", "seen_at"), [(40, 15), (6, 6)])
def test_an_accelerator_is_asked_rarely_but_before_validation(
    monkeypatch: pytest.MonkeyPatch, batches: int, seen_at: int
) -> None:
    monkeypatch.setattr(base, "LOOK_EVERY", {})
    rows = samples(batches)
    rows[2]["image"] = torch.full((1, 2, 2), torch.inf)
    module = create()
    validated = Watch(lambda _: 0.0)
    run = trainer(5, num_sanity_val_steps=0, callbacks=[validated])
    with pytest.raises(NonFiniteLossError, match=f"in epoch 0 at step {seen_at};"):
        run.fit(module, loader(rows, 1), loader(samples(8)))
    assert not validated.values
    assert "val" not in module.predictions


def test_a_validation_loss_that_is_not_finite_stops_the_fit_but_not_a_test() -> None:
    rows = samples(8)
    rows[5]["image"] = torch.full((1, 2, 2), torch.nan)
    module = create()
    with pytest.raises(NonFiniteLossError, match="validation loss is not finite in epoch 0"):
        trainer(5).fit(module, loader(samples(8)), loader(rows))
    trainer().test(module, loader(rows), verbose=False)
    scores = module.scores["test"]
    assert scores.values["auroc"] is None
    assert scores.values["loss"] is None
    assert scores.notes["auroc"] == "1 of 8 samples have probabilities that are not finite"
    assert scores.notes["loss"] == "the mean over 8 samples is nan"


def test_a_monitor_that_is_undefined_is_named() -> None:
    positives = [row for row in samples(32) if row["label"] == 1]
    module = create(monitor="val/auprc", class_names=("no", "yes"))
    with pytest.raises(
        DataError, match=r"protocol.monitor=val/auprc on the validation split: .*0 of no"
    ):
        trainer(2).fit(module, loader(samples(16)), loader(positives))
    run = trainer(2)
    run.fit(create(), loader(samples(16)), loader(positives))
    assert run.callback_metrics["val/auroc"].isnan()


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_settings_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'binry'; did you mean 'binary'"):
        create(task="binry")
    with pytest.raises(
        UnknownNameError, match="monitor 'val/acuracy'; did you mean 'val/accuracy'"
    ):
        create(monitor="val/acuracy")
    with pytest.raises(UnknownNameError, match=r"protocol.scheduler_interval 'steps'"):
        create(scheduler_interval="steps")
    create(3, task="multiclass", class_names=("a", "b", "c"), monitor="val/auroc/b")
    module = create(3, class_names=("no", "yes"))
    with pytest.raises(
        ConfigError, match="the model has 3 outputs, the data has 2 classes: no, yes"
    ):
        trainer().fit(module, loader(samples(8)))


def test_the_state_is_the_models_alone() -> None:
    module = create(class_weights=torch.tensor([1.0, 2.0]))
    assert {key.partition(".")[0] for key in module.state_dict()} == {"model"}
    assert not module.hparams


# The whole module under DDP: nine samples on two processes, one of which gets one of them again.
SCRIPT = """
import importlib.util
import json
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("cases", sys.argv[1])
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
cases.torch.manual_seed(0)
module = cases.create(class_weights=cases.torch.tensor([1.5, 1.0]))
run = cases.trainer(1, devices=2, strategy="ddp")
run.fit(module, cases.loader(cases.samples(9), 2), cases.loader(cases.samples(9), 2))
state = {key: value.tolist() for key, value in module.state_dict().items()}
table = {"state": state, "values": module.scores["val"].values}
table["logged"] = {key: float(value) for key, value in run.callback_metrics.items()}
Path(f"{sys.argv[2]}/{run.global_rank}.json").write_text(json.dumps(table))
"""


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), __file__, str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=200, env=_importable())
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["values"] == second["values"]
    assert first["logged"] == pytest.approx(second["logged"])
    module = create(class_weights=torch.tensor([1.5, 1.0]))
    module.load_state_dict({key: torch.tensor(value) for key, value in first["state"].items()})
    trainer().validate(module, loader(samples(9)), verbose=False)
    assert module.scores["val"].values == pytest.approx(first["values"], rel=1e-6)


def _importable() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}

"""Probes of the pretrained network, without a run."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from ttl_lightning.cli.main import main
from ttl_lightning.config import compose as config
from ttl_lightning.interpret.pretrained import probe
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.tasks.probes import PENALTIES

SIZES = {"train": 60, "val": 40, "test": 20}


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    """Noise, in which the second class is a little brighter at the left."""
    rng = np.random.default_rng(0)
    found = {}
    for split, n in SIZES.items():
        labels = rng.permutation(np.arange(n) % 2)
        pixels = rng.normal(128, 30, (n, 32, 32))
        pixels[:, :, :16] += 12 * labels[:, None, None]
        found[f"{split}_images"] = pixels.clip(0, 255).astype(np.uint8)
        found[f"{split}_labels"] = labels[:, None]
    return found


@pytest.fixture
def overrides(images, tmp_path, monkeypatch) -> list[str]:
    np.savez(tmp_path / "noise.npz", **images)
    monkeypatch.chdir(tmp_path)
    return [
        "data=npz", "data.path=noise.npz", "data.image_size=32", "backbone=test_resnet",
        "backbone.weights=null", "trainer.accelerator=cpu", "seed=7",
        "protocol.augment.resize_factor=1", "data.eval_view=whole",
    ]  # fmt: skip


@pytest.mark.slow
def test_as_a_logistic_regression_on_timms_features(overrides, images) -> None:
    found = probe(config.typed(config.read(overrides)[0]))
    pl.seed_everything(7, verbose=False)
    backbone = create_backbone("test_resnet", None, 3)
    assert tuple(found) == backbone.cutoffs
    net = timm.create_model("test_resnet").eval()
    net.load_state_dict(backbone.state_dict(), strict=False)
    mean, std = (torch.tensor(net.default_cfg[key])[:, None, None] for key in ("mean", "std"))
    features = {}
    for split in ("train", "val"):
        pixels = torch.tensor(images[f"{split}_images"])[:, None].expand(-1, 3, -1, -1) / 255
        with torch.no_grad():
            features[split] = (
                net.forward_features((pixels - mean) / std)
                .mean((2, 3), dtype=torch.float64)
                .numpy()
            )
    center, scale = features["train"].mean(axis=0), features["train"].std(axis=0)
    scale[scale == 0] = 1  # a channel that random weights left dead
    result = found["block4.1"]
    assert result.penalty in PENALTIES
    fit = LogisticRegression(C=1 / (result.penalty * SIZES["train"]), max_iter=1000)
    fit.fit((features["train"] - center) / scale, images["train_labels"][:, 0])
    predicted = fit.predict_proba((features["val"] - center) / scale)[:, 1]
    labels = images["val_labels"][:, 0]
    expected = {
        "val/auroc": roc_auc_score(labels, predicted),
        "val/auprc": average_precision_score(labels, predicted),
    }
    assert result.metrics == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
def test_test_images_are_not_looked_at(overrides, images, tmp_path) -> None:
    before = probe(config.typed(config.read(overrides)[0]))
    others = images | {"test_images": 255 - images["test_images"]}
    np.savez(tmp_path / "noise.npz", **others)
    assert probe(config.typed(config.read(overrides)[0])) == before


def test_the_table(overrides, monkeypatch, capsys) -> None:
    # neither strategy nor cutoff matters, so the overrides of any run will do
    arguments = ["ttl-lightning", "probe", *overrides, "strategy=ttl", "cutoff=block2"]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    out = capsys.readouterr().out
    found = probe(config.typed(config.read(overrides)[0]))
    for unit, result in found.items():
        (line,) = [line for line in out.splitlines() if f" {unit} " in line]
        assert f"{result.metrics['val/auprc']:.4f}" in line


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["data.path=nowhere.npz", "backbone=resnet5", "data.colour=red"])
def test_a_mistake_is_one_line(wrong, overrides, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["ttl-lightning", "probe", *overrides, wrong])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert wrong.split("=")[1] in line or wrong.split("=")[0] in line

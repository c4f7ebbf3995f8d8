from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError
from ttl_lightning.runs.open import OpenRun, open_run


def test_the_models_before_and_after(open_cut: OpenRun, cut: Path) -> None:
    best = torch.load(cut / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    after = open_cut.after.state_dict()
    assert {key: value.tolist() for key, value in after.items()} == {
        key.removeprefix("model."): value.tolist() for key, value in best.items()
    }
    torch.manual_seed(0)
    fresh = ttl.create_model("test_resnet", "ttl", "block2", image_size=32, weights=None)
    before = open_cut.before.state_dict()
    assert before.keys() == after.keys() == fresh.state_dict().keys()
    conv = "backbone.layer1.0.conv1.weight"
    assert not torch.equal(before[conv], after[conv])
    assert torch.equal(before[conv], fresh.state_dict()[conv]), "not what training began with"
    assert not any(model.training for model in (open_cut.before, open_cut.after))


@pytest.mark.parametrize(("most", "sizes"), [(None, [10, 10, 4]), (13, [10, 3]), (10, [10])])
def test_samples_in_order_and_no_more_than_asked_for(
    open_cut: OpenRun, most: int | None, sizes: list[int]
) -> None:
    batches = list(open_cut.batches("test", most))
    assert [len(batch["image"]) for batch in batches] == sizes
    ids = torch.cat([batch["id"] for batch in batches])
    assert ids.tolist() == list(range(sum(sizes)))


def test_an_older_run_is_seen_as_it_was_evaluated(cut: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(cut, folder)
    cfg = OmegaConf.load(folder / "config.yaml")
    for key in ("fit", "eval_view", "tta"):
        del cfg.data[key]
    OmegaConf.save(cfg, folder / "config.yaml")
    older, newer = open_run(folder, device="cpu"), open_run(cut, device="cpu")
    assert (older.data.view.eval_view, newer.data.view.eval_view) == ("center_crop", "train_scale")
    assert (older.data.view.fit, newer.data.view.fit) == ("crop", "squash")
    assert open_run(folder, ["data.eval_view=whole"], device="cpu").data.view.eval_view == "whole"


def test_units(open_full: OpenRun) -> None:
    assert open_full.units("all") == open_full.after.backbone.cutoffs
    assert open_full.units("blocks") == ("stem", "block1.1", "block2.1", "block3.1", "block4.1")
    with pytest.raises(UnknownNameError, match="did you mean 'blocks'"):
        open_full.units("block")


def test_what_cannot_be_opened(cut: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        open_run(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(cut, folder)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | {"status": "paused"}))
    with pytest.raises(DataError, match=r"a run that is not completed: it is paused"):
        open_run(folder)
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(ConfigError, match=r"config\.yaml: .*sise"):
        open_run(folder, ["data.image_sise=3"])
    (folder / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        open_run(folder)

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ttl_lightning.models.create import create_model
from ttl_lightning.models.strategies.base import TransferModel


class Task(pl.LightningModule):
    """The least that Lightning trains: it calls train() and eval() as it sees fit."""

    def __init__(self, model: TransferModel) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.model(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.param_groups(1e-2))


# Lightning counts the modules in evaluation mode: they are the frozen ones
@pytest.mark.filterwarnings(r"ignore:Found \d+ module\(s\) in eval mode")
@pytest.mark.parametrize(("strategy", "cutoff"), [("lwft", "block2"), ("ffe", None)])
def test_frozen_units_are_bit_equal_after_a_fit(strategy: str, cutoff: str | None) -> None:
    model = create_model("test_resnet", strategy, cutoff, image_size=32, weights=None)
    model.backbone(torch.rand(4, 3, 32, 32))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    data = TensorDataset(torch.rand(16, 3, 32, 32), torch.arange(16) % 2)
    loader = DataLoader(data, batch_size=4)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Task(model), loader, loader)
    after = model.state_dict()
    frozen = ("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2")
    frozen = frozen if strategy == "lwft" else ("backbone.",)
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert not any(key.startswith(frozen) for key in changed)
    assert "head.fc.weight" in changed
    statistics = {key for key in after if "running_mean" in key and not key.startswith(frozen)}
    assert bool(statistics) == (strategy == "lwft")
    assert statistics <= changed


def test_rates_are_the_heads_and_a_tenth() -> None:
    model = create_model("test_resnet", "lwft", "block2", image_size=32, weights=None)
    head, tuned = model.param_groups(1e-3)
    assert (head["name"], head["lr"]) == ("head", 1e-3)
    assert (tuned["name"], tuned["lr"]) == ("backbone", pytest.approx(1e-4))
    later = [*model.backbone.net.get_submodule("layer3").parameters()]
    later += model.backbone.net.get_submodule("layer4").parameters()
    assert {id(p) for p in tuned["params"]} == {id(p) for p in later}


def test_at_the_last_unit_only_the_head_trains() -> None:
    model = create_model("test_resnet", "lwft", "full", image_size=32, weights=None)
    assert [group["name"] for group in model.param_groups(1e-3)] == ["head"]

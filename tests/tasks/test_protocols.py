from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from ttl_lightning.data.transforms import Augment
from ttl_lightning.tasks.classification import ClassificationTask

CONF = Path(__file__).parents[2] / "conf"
PROTOCOLS = sorted(path.stem for path in (CONF / "protocol").glob("*.yaml"))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)

    def param_groups(self, *, lr: float) -> list[dict[str, Any]]:
        return [{"params": list(self.head.parameters()), "lr": lr, "name": "head"}]


def composed(protocol: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+protocol={protocol}", "+task=classification"])


def build(protocol: str) -> tuple[ClassificationTask, DictConfig]:
    cfg = composed(protocol)
    task = instantiate(cfg.task)(
        Tiny(),
        optimizer=instantiate(cfg.protocol.optimizer),
        learning_rate=cfg.protocol.learning_rate,
        scheduler=instantiate(cfg.protocol.scheduler),
        scheduler_interval=cfg.protocol.scheduler_interval,
        monitor=cfg.protocol.monitor,
    )
    task._trainer = SimpleNamespace(
        estimated_stepping_batches=100, enable_validation=True, check_val_every_n_epoch=3
    )
    return task, cfg.protocol


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_builds(name: str) -> None:
    task, protocol = build(name)
    settings: Any = task.configure_optimizers()
    assert settings["lr_scheduler"]["monitor"] == protocol.monitor
    assert isinstance(instantiate(protocol.augment), Augment)
    assert protocol.monitor_mode in ("min", "max")
    keys = "optimizer learning_rate scheduler scheduler_interval monitor monitor_mode lr_floor"
    assert set(protocol) == {*keys.split(), "max_epochs", "batch_size", "augment"}


@pytest.mark.parametrize(("name", "mode"), [("2d", "max"), ("paper_code", "min")])
def test_the_papers_schedule(name: str, mode: str) -> None:
    task, protocol = build(name)
    settings: Any = task.configure_optimizers()
    plateau = settings["lr_scheduler"]["scheduler"]
    assert isinstance(settings["optimizer"], Adam)
    assert settings["optimizer"].param_groups[0]["lr"] == 1e-4
    assert isinstance(plateau, ReduceLROnPlateau)
    assert (plateau.mode, plateau.factor, plateau.patience) == (mode, 0.5, 5)
    assert settings["lr_scheduler"]["frequency"] == 3
    assert (protocol.batch_size, protocol.max_epochs, protocol.lr_floor) == (64, 200, 1e-6)
    assert protocol.monitor == ("val/auprc" if mode == "max" else "val/loss")


def test_the_papers_crop_is_of_the_input_size() -> None:
    augment = instantiate(composed("2d").protocol.augment)
    assert augment.stored_size(224) == 256
    assert augment.crop_scale[0] == augment.crop_scale[1] == (224 / 256) ** 2


def test_fast_is_one_cycle_by_steps() -> None:
    task, _ = build("fast")
    settings: Any = task.configure_optimizers()
    assert settings["lr_scheduler"]["interval"] == "step"
    assert isinstance(settings["lr_scheduler"]["scheduler"], LambdaLR)
    # The first of ten steps up to the base rate.
    assert settings["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-3 / 11)

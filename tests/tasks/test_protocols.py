from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import SGD, Adam
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

    def param_groups(self, *, lr: float, pretrained_lr_factor: float) -> list[dict[str, Any]]:
        weight, bias = self.head.weight, self.head.bias
        return [
            {"params": [bias], "lr": lr, "name": "head"},
            {"params": [weight], "lr": lr * pretrained_lr_factor, "name": "backbone"},
        ]


def composed(protocol: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+protocol={protocol}", "+task=classification"])


def build(protocol: str) -> tuple[ClassificationTask, DictConfig]:
    cfg = composed(protocol)
    task = instantiate({k: v for k, v in cfg.task.items() if k != "head"})(
        Tiny(),
        optimizer=instantiate(cfg.protocol.optimizer),
        learning_rate=cfg.protocol.learning_rate,
        pretrained_lr_factor=cfg.protocol.pretrained_lr_factor,
        loss=cfg.protocol.loss,
        focal_gamma=cfg.protocol.focal_gamma,
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
    keys += " pretrained_lr_factor head_init loss focal_gamma max_epochs batch_size augment"
    assert set(protocol) == set(keys.split())


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


def test_the_protocol_of_volumes() -> None:
    task, protocol = build("3d")
    settings: Any = task.configure_optimizers()
    optimizer = settings["optimizer"]
    assert isinstance(optimizer, SGD)
    assert (optimizer.defaults["momentum"], optimizer.defaults["dampening"]) == (0.9, 0.9)
    rates = [group["initial_lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.1, 0.01])
    factors = []
    for _ in range(100):
        factors.append(optimizer.param_groups[0]["lr"] / 0.1)
        optimizer.step()
        settings["lr_scheduler"]["scheduler"].step()
    rising, top = factors[:3], 3
    assert rising == pytest.approx([1 / 4, 2 / 4, 3 / 4])
    cosine = [0.5 * (1 + math.cos(math.pi * step / 97)) for step in range(97)]
    assert factors[top:] == pytest.approx(cosine)
    assert (protocol.monitor, protocol.loss) == ("val/auroc", "focal")
    augment = instantiate(protocol.augment)
    assert augment.stored_size(192) == 208
    assert augment.crop_scale[0] == augment.crop_scale[1] == pytest.approx((192 / 208) ** 2)
    assert (augment.rotation_degrees, augment.slice_jitter) == (15.0, 0.5)


def test_fast_is_one_cycle_by_steps() -> None:
    task, _ = build("fast")
    settings: Any = task.configure_optimizers()
    assert settings["lr_scheduler"]["interval"] == "step"
    assert isinstance(settings["lr_scheduler"]["scheduler"], LambdaLR)
    # The first of ten steps up to the base rate.
    assert settings["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-3 / 11)

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from ttl_lightning.config import compose as config
from ttl_lightning.jobs import process

SMALL = (
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "trainer.max_epochs=1",
    "trainer.accelerator=cpu", "trainer.precision=32-true", "protocol.batch_size=8",
    "latency=false",
    "data.train_size=16", "data.val_size=8", "data.test_size=8",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_server(monkeypatch) -> None:
    """Without pytest's own variable, which would make a server of forks for each test."""
    real = process.environment

    def environment(given, **options) -> dict[str, str]:
        kept = real(given, **options)
        return {key: value for key, value in kept.items() if key != "PYTEST_CURRENT_TEST"}

    monkeypatch.setattr(process, "environment", environment)


@pytest.fixture
def small() -> tuple[str, ...]:
    """Overrides of a run of a second."""
    return SMALL


@pytest.fixture
def composed(workdir):  # noqa: ARG001 - it is the folder
    """What Hydra's loader does for a sweep that was started in an empty folder."""

    def one(overrides) -> DictConfig:
        config.accept_backbones(overrides)
        with initialize_config_module(config.MODULE, version_base=config.VERSION_BASE):
            return compose(config.ROOT, list(overrides), return_hydra_config=True)

    return one

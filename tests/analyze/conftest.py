from __future__ import annotations

from pathlib import Path

import pytest

import ttl_lightning as ttl
from ttl_lightning.analyze.runs import OpenRun, open_run

SMALL = [
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "data.train_size=40",
    "data.val_size=24", "data.test_size=24", "protocol.batch_size=10", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "trainer.max_epochs=2",
]  # fmt: skip


def _trained(folder: Path, *overrides: str) -> Path:
    ttl.train(overrides=[*SMALL, *overrides], run_dir=folder)
    return folder


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of full finetuning."""
    return _trained(tmp_path_factory.mktemp("full"), "strategy=ftl")


@pytest.fixture(scope="session")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run cut at block 2."""
    return _trained(tmp_path_factory.mktemp("cut"), "strategy=ttl", "cutoff=block2")


@pytest.fixture(scope="session")
def open_full(full: Path) -> OpenRun:
    return open_run(full, device="cpu")


@pytest.fixture(scope="session")
def open_cut(cut: Path) -> OpenRun:
    return open_run(cut, device="cpu")

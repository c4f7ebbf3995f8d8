"""Loaders have processes of their own where a GPU computes, and the machine has room for them."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import SMALL
from ttl_lightning.config import compose as config
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import Loading
from ttl_lightning.runs.build import create_data
from ttl_lightning.runtime import loaders


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """One with a GPU, so many processors, and so much shared memory."""

    def of(processors: int, shared: float = 64e9, *, gpu: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(loaders, "SHARED", tmp_path)
        monkeypatch.setattr(loaders, "usable", lambda: processors)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=shared))

    return of


def test_as_many_as_the_main_process_leaves(machine) -> None:
    machine(processors=6)
    assert loaders.workers() == 5
    machine(processors=64)
    assert loaders.workers() == loaders.MOST
    machine(processors=1)
    assert loaders.workers() == 0


def test_none_without_a_gpu_or_room_for_batches(machine, monkeypatch, tmp_path) -> None:
    machine(processors=16, gpu=False)
    assert loaders.workers() == 0
    machine(processors=16, shared=64e6)
    assert loaders.workers() == 0
    machine(processors=16)
    monkeypatch.setattr(loaders, "SHARED", tmp_path / "not there")
    assert loaders.workers() == 0


@pytest.mark.parametrize(("given", "count"), [("auto", 3), ("0", 0), ("2", 2)])
def test_a_run_asks_the_machine_where_it_is_left_to_it(machine, given, count) -> None:
    machine(processors=4)
    cfg, _ = config.read([*SMALL, f"data.num_workers={given}"])
    assert create_data(config.typed(cfg).recipe).loading.num_workers == count


def test_a_data_module_alone_loads_in_the_main_process(machine) -> None:
    machine(processors=4)
    cfg, _ = config.read([*SMALL])
    data = create_data(config.typed(cfg).recipe)
    assert data.loading.num_workers == 3
    alone = DataModule(data.source, data.view, Loading())
    alone.setup()
    assert alone.val_dataloader().num_workers == 0

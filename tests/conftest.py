from __future__ import annotations

import gc
import importlib
import ipaddress
import os
import random
import socket
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

# before anything imports them, and for the processes that tests start: no display, no hub
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch

import ttl_lightning as ttl

if TYPE_CHECKING:
    from ttl_lightning.runs.open import OpenRun

SEED = 0

SMALL = [
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "data.train_size=40",
    "data.val_size=24", "data.test_size=24", "protocol.batch_size=10", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "trainer.max_epochs=2",
]  # fmt: skip


def pytest_configure() -> None:
    # tiny networks gain nothing from threads, and sums stay in one order, in what tests start, too
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    # what the imports made stays: looking through it for garbage took a quarter of composing's time
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - libraries under test draw from the global one
    torch.manual_seed(SEED)


@pytest.fixture(autouse=True, scope="session")
def _untimed() -> Iterator[None]:
    """Runs in this process time no network: the process that does takes longer than they do."""
    nothing = nullcontext(lambda _models, _size, devices: dict.fromkeys(devices, "tests do not"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("ttl_lightning.runs.fit"), "timer", lambda: nothing)
        yield


@pytest.fixture(autouse=True, scope="session")
def _sketched() -> Iterator[None]:
    """Runs in this process leave empty vector files: drawing all kinds takes longer than they do.

    `tests/tasks/test_pictures.py` draws them.
    """
    outputs = importlib.import_module("ttl_lightning.runs.outputs")
    drawn, empty = outputs.picture, {"svg": b"<svg/>", "pdf": b"%PDF-1.4"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            outputs, "picture", lambda figure, kind: empty.get(kind) or drawn(figure, kind)
        )
        yield


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, for what writes below the folder where a command was given."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def network_attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Refuses every address but this machine's, and fails the test that tried one.

    A test that provokes an attempt on purpose asserts on this list and clears it.
    """
    attempts: list[str] = []
    real_connect, real_lookup = socket.socket.connect, socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            attempts.append(f"connect {address[0]}")
            raise ConnectionRefusedError(f"tests have no network: {address}")
        real_connect(self, address)

    def lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            attempts.append(f"look up {host}")
            raise socket.gaierror(f"tests have no network: {host}")
        return real_lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    yield attempts
    assert not attempts, f"the test reached for the network: {attempts}"


def _is_local(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


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
    """The run of all units, opened."""
    return _opened(full)


@pytest.fixture(scope="session")
def open_cut(cut: Path) -> OpenRun:
    """The truncated run, opened."""
    return _opened(cut)


def _opened(folder: Path) -> OpenRun:
    from ttl_lightning.runs.open import open_run

    return open_run(folder, device="cpu")

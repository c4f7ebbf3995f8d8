from __future__ import annotations

from pathlib import Path

import pytest

from ttl_lightning.analyze.runs import OpenRun, open_run


@pytest.fixture(scope="session")
def open_full(full: Path) -> OpenRun:
    return open_run(full, device="cpu")


@pytest.fixture(scope="session")
def open_cut(cut: Path) -> OpenRun:
    return open_run(cut, device="cpu")

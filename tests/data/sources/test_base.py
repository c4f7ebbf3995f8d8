from __future__ import annotations

from pathlib import Path

import pytest

from ttl_lightning.data.sources.base import existing_path
from ttl_lightning.errors import ConfigError, DataError


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"data.path must name"):
        existing_path(None)
    with pytest.raises(DataError, match=r"data.path: no such file or folder: here/x \(seen from /"):
        existing_path("here/x")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert existing_path("here") == Path("here")

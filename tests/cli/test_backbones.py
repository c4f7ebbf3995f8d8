from __future__ import annotations

import pytest

from ttl_lightning.cli import backbones
from ttl_lightning.errors import ConfigError, UnknownNameError


def test_networks_by_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    backbones.run(["test_vit", "starnet_s1", "resnet3d_10"])
    header, *rows, end = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "kind", "cutoffs", "parameters", "family"]
    found = {row.split()[0]: row.split()[1:3] for row in rows}
    assert found["test_vit"][0] == "exact"
    assert found["starnet_s1"] == ["generic", "5"]
    assert found["resnet3d_10"] == ["exact", "5"]
    assert end == "3 of 3 have cutoffs: 2 exact, 1 generic."


def test_mistakes() -> None:
    with pytest.raises(UnknownNameError, match="unknown backbone 'resnet19'; did you mean 'resnet"):
        backbones.run(["resnet19"])
    with pytest.raises(ConfigError, match="takes patterns of names, got 'a=1'"):
        backbones.run(["a=1"])

"""The run's network and the whole one, timed by turns."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError
from ttl_lightning.exports import timing
from ttl_lightning.exports.options import LatencyOptions
from ttl_lightning.exports.tracing import as_onnx
from ttl_lightning.models.cost import complexity


def test_both_networks_are_those_of_the_run(cut: Path) -> None:
    these = timing.networks(LatencyOptions(run=str(cut), image_size="48"))
    assert these.size == (3, 48, 48)
    assert these.macs[0] == complexity(ttl.load(cut).model, (3, 48, 48)).macs
    whole = ttl.create_model("test_resnet", "ftl", num_classes=2, weights=None)
    assert these.macs[1] == complexity(whole, (3, 48, 48)).macs
    assert these.ratio == these.macs[0] / these.macs[1]


def test_a_network_that_is_kept_whole_has_none_beside_it(full: Path) -> None:
    these = timing.networks(LatencyOptions(run=str(full)))
    assert len(these.models) == 1
    assert these.ratio is None


def test_a_size_of_other_dimensions_is_refused(cut: Path) -> None:
    with pytest.raises(ConfigError, match="image_size must be 2 numbers"):
        timing.networks(LatencyOptions(run=str(cut), image_size="8,48,48"))


@pytest.mark.slow
def test_every_setting_has_its_times_and_threads_are_as_before(cut: Path) -> None:
    options = LatencyOptions(run=str(cut), batch="1,2", threads="1,2", quantize="int8")
    before = torch.get_num_threads()
    found = list(timing.compare(options, timing.networks(options)))
    settings = [one.setting if isinstance(one, timing.Compared) else one[0] for one in found]
    assert [str(one) for one in settings] == [
        f"engine={engine} batch={batch} threads={threads}"
        for threads in (1, 2)
        for batch in (1, 2)
        for engine in ("torch", "onnx", "int8")
    ]
    for one in found:
        if isinstance(one, timing.Compared):  # a machine may be too noisy
            assert one.whole is not None
            assert one.ratio == one.cut.min / one.whole.min
            assert one.cut.threads == one.setting.threads
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_openvino_computes_what_torch_does_and_is_timed(cut: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is an extra of its own")
    options = LatencyOptions(run=str(cut), engine="openvino", batch="2", threads="1")
    these = timing.networks(options)
    (found,) = timing.compare(options, these)
    setting = found.setting if isinstance(found, timing.Compared) else found[0]
    assert str(setting) == "engine=openvino batch=2 threads=1"
    x = torch.rand(2, *these.size)
    as_onnx(these.models[0], these.size, tmp_path / "cut.onnx", "logits")
    run = timing._in_openvino(tmp_path / "cut.onnx", x, timing.Setting("openvino", 2, 1))
    (logits,) = run().values()
    with torch.inference_mode():
        torch.testing.assert_close(
            torch.from_numpy(logits), these.models[0](x), rtol=1e-4, atol=1e-5
        )


def test_an_engine_that_is_missing_is_told_with_what_brings_it(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "openvino" else real(name)
    )
    with pytest.raises(ConfigError, match=r"needs openvino: pip install '.*\[export,openvino\]'"):
        LatencyOptions(run="x", engine="openvino")
    LatencyOptions(run="x", engine="onnx")

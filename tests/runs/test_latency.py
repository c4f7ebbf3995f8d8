from __future__ import annotations

import importlib
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import run_cost
from ttl_lightning.runs import latency
from ttl_lightning.runs.latency import timer

SMALL = [
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "data.train_size=16",
    "data.val_size=8", "data.test_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu",
    "trainer.precision=32-true",
]  # fmt: skip
CUT, WHOLE = (
    {
        "name": "test_resnet",
        "weights": None,
        "in_channels": 3,
        "image_size": [32, 32],
        "num_classes": 2,
        **split,
    }
    for split in ({"strategy": "ttl", "cutoff": "block1"}, {"strategy": "ftl"})
)
KEYS = {"min", "median", "p95", "passes", "noise", "batch_size", "threads"}


def fake(monkeypatch: pytest.MonkeyPatch, answer):
    """The run's timer says this; what it was asked for is returned."""
    asked = []

    def times(*request):
        asked.append(request)
        return answer

    module = importlib.import_module("ttl_lightning.runs.fit")
    monkeypatch.setattr(module, "timer", lambda: nullcontext(times))
    return asked


@pytest.mark.slow
def test_a_process_of_its_own_times_both_networks() -> None:
    with timer() as times:
        found = times([CUT, WHOLE], (3, 32, 32), ["cpu"])["cpu"]
    if isinstance(found, str):  # a busy machine may say so
        assert "the machine is too" in found
        return
    cut, whole = found
    assert set(cut) == set(whole) == KEYS
    assert 0 < cut["min"] < whole["min"]
    assert (cut["batch_size"], cut["threads"]) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "device", "reason"),
    [
        ({**CUT, "name": "resnet5"}, "cpu", "unknown backbone 'resnet5'"),
        (CUT, "xpu9", "xpu9"),
    ],
)
def test_what_fails_there_is_a_reason_here(model, device, reason) -> None:
    with timer() as times:
        found = times([model], (3, 32, 32), [device])
    assert str(found[device]).startswith("the process that measures failed: ")
    assert reason in str(found[device])
    assert "\n" not in str(found[device])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it said nothing"),
        ("import time; time.sleep(60)", "timed out"),
        ("print('no JSON')", "Expecting value"),
        ("pass", "list index"),
    ],
)
def test_a_process_that_dies_or_hangs_is_a_reason_too(monkeypatch, code, reason) -> None:
    monkeypatch.setattr(latency, "START_S", 1.0)
    monkeypatch.setattr(latency, "SLOW_LIMIT_S", 1.0)
    real, started = subprocess.Popen, []

    def popen(command, **options):
        assert command == [sys.executable, "-m", "ttl_lightning.runs.latency"]
        started.append(real([sys.executable, "-c", code], **options))
        return started[-1]

    monkeypatch.setattr(latency.subprocess, "Popen", popen)
    with timer() as times:
        found = times([CUT], (3, 32, 32), ["cpu", "cuda"])
    assert set(found) == {"cpu", "cuda"}
    assert all(str(why).startswith("the process that measures failed: ") for why in found.values())
    assert reason in str(found["cpu"])
    assert started[0].poll() is not None


def test_a_process_that_is_not_asked_ends_all_the_same(monkeypatch) -> None:
    real, started = subprocess.Popen, []
    monkeypatch.setattr(
        latency.subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1]
    )
    with pytest.raises(RuntimeError, match="scoring failed"), timer():
        raise RuntimeError("scoring failed")
    assert started[0].poll() is not None


@pytest.mark.slow
def test_a_run_records_both_times_and_their_ratio(tmp_path: Path, monkeypatch) -> None:
    own, whole = ({"min": ms, "median": 2 * ms, "noise": 0.01} for ms in (1.0, 4.0))
    asked = fake(monkeypatch, {"cpu": [own, whole]})
    overrides = [*SMALL, "strategy=ttl", "cutoff=block2", "strategy.pooling=false"]
    result = ttl.train(overrides=overrides, run_dir=tmp_path)
    ((models, size, devices),) = asked
    assert json.loads(json.dumps(models)) == [
        {**CUT, "cutoff": "block2", "pooling": False, "head": "linear"}, {**WHOLE, "head": "linear"}
    ]  # fmt: skip
    assert (tuple(size), devices) == ((3, 32, 32), ["cpu"])
    written = RunResult.load(tmp_path).complexity
    assert written["latency_ms"] == {"cpu": {**own, "ratio": 0.25}}
    assert written["untruncated"]["latency_ms"] == {"cpu": whole}
    assert run_cost(result, "latency_ratio") == 0.25


@pytest.mark.slow
def test_a_network_that_is_kept_whole_has_the_ratio_one(tmp_path: Path, monkeypatch) -> None:
    asked = fake(monkeypatch, {"cpu": [{"min": 3.0, "median": 4.0}]})
    result = ttl.train(overrides=[*SMALL, "strategy=lwft", "cutoff=block1"], run_dir=tmp_path)
    assert len(asked[0][0]) == 1
    assert result.complexity["latency_ms"]["cpu"]["ratio"] == 1.0


@pytest.mark.slow
def test_no_latency_is_null_with_its_reason_and_no_failed_run(
    tmp_path, monkeypatch, capsys
) -> None:
    fake(monkeypatch, {"cpu": "the machine is too noisy"})
    overrides = [*SMALL, "strategy=ttl", "cutoff=block1"]
    result = ttl.train(overrides=overrides, run_dir=tmp_path)
    assert result.status == "completed"
    assert result.complexity["latency_ms"] == {"cpu": None}
    assert result.complexity["untruncated"]["latency_ms"] == {"cpu": None}
    assert result.notes["complexity/latency_ms/cpu"] == "the machine is too noisy"
    assert "No latency, cpu: the machine is too noisy." in capsys.readouterr().out


@pytest.mark.slow
def test_latency_can_be_left_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        importlib.import_module("ttl_lightning.runs.fit"), "timer", lambda: pytest.fail("it began")
    )
    overrides = [*SMALL, "strategy=ftl"]
    result = ttl.train(overrides=[*overrides, "latency=false"], run_dir=tmp_path)
    assert result.notes["complexity/latency_ms/cpu"] == "it was not asked for (latency=false)"
    # it is no other run for that
    assert ttl.train(overrides=overrides, run_dir=tmp_path).config_sha256 == result.config_sha256
    with pytest.raises(ConfigError, match="latency must be true or false, got 'maybe'"):
        ttl.train(overrides=[*SMALL, "latency=maybe"], run_dir=tmp_path / "wrong")

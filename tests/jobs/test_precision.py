"""One precision for all that a sweep compares, measured once."""

import json
from pathlib import Path

import pytest

from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.jobs import precision
from ttl_lightning.jobs.job import spec_of
from ttl_lightning.jobs.session import Session
from ttl_lightning.runtime.precision import Choice

AUTO = ("trainer.precision=auto", "data.train_size=16")


@pytest.fixture
def measure(monkeypatch):
    """Chooses what the test says; counts what is measured."""
    seen = []
    answers = [Choice("bf16-mixed", channels_last=True, timings_ms={"a": 1.0})]

    def choose(model, shape, device, *, channels_last):
        seen.append((model.backbone.name, tuple(shape), device, channels_last))
        return answers[-1]

    monkeypatch.setattr(precision, "call", lambda function, *given: function(*given))
    monkeypatch.setattr(precision, "choose", choose)
    monkeypatch.setattr(precision, "_wrong", lambda _: None)
    monkeypatch.setattr("ttl_lightning.runs.check.wrong_in_bfloat16", lambda *_: None)
    return seen, answers


@pytest.fixture
def sweep(composed, small):
    launched = []
    folder = Path("multirun/default").absolute()

    def run(*arguments) -> list[dict[str, str]]:
        launched.clear()
        session = Session(composed, lambda batch, _: launched.extend(batch), folder)
        session.grid([*small, *AUTO, *arguments])
        return [dict(o.split("=", 1) for o in overrides) for _, overrides in launched]

    return run


@pytest.mark.slow
def test_all_jobs_get_what_was_measured_once_for_the_largest_network(sweep, measure) -> None:
    seen, answers = measure
    jobs = sweep("strategy=ftl,ttl", "cutoff=block1", "seed=0,1", "backbone=test_resnet,resnet18")
    assert seen == [("resnet18", (8, 3, 32, 32), "cpu", None)]
    assert len(jobs) == 8
    for job in jobs:
        assert job["trainer.precision"] == "bf16-mixed"
        assert job["trainer.channels_last"] == "true"
    content = json.loads(Path("multirun/default/precision.json").read_text())
    assert content == {
        "schema": 1, "precision": "bf16-mixed", "channels_last": True, "network": "resnet18",
        "device": "cpu", "timings_ms": {"a": 1.0},
    }  # fmt: skip
    # taken up again, perhaps elsewhere, with what would be measured otherwise
    answers.append(Choice("32-true", channels_last=False))
    (again,) = sweep("strategy=ftl", "seed=7", "trainer.channels_last=false")
    assert len(seen) == 1
    assert again["trainer.precision"] == "bf16-mixed"
    assert again["trainer.channels_last"] == "False"  # as asked for


def test_a_precision_that_is_given_is_not_measured(sweep, measure) -> None:
    seen, _ = measure
    jobs = sweep("strategy=ftl", "trainer.precision=32-true,64-true")
    assert [job["trainer.precision"] for job in jobs] == ["32-true", "64-true"]
    assert not seen
    assert not Path("multirun/default/precision.json").exists()


def test_a_mistake_is_told_before_anything_is_measured(sweep, measure, workdir) -> None:
    seen, _ = measure
    with pytest.raises(ConfigError, match=r"data\.val_size"):
        sweep("strategy=ftl", "data.val_size=0")
    assert not seen
    with pytest.raises(ConfigError, match="seed"):
        sweep("strategy=ftl", "seed=-3")
    assert not list(workdir.iterdir())


@pytest.mark.usefixtures("measure")
def test_a_gpu_that_is_not_here_cannot_be_measured(sweep, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"no GPU here for trainer.accelerator=gpu"):
        sweep("strategy=ftl", "trainer.accelerator=gpu")


@pytest.mark.usefixtures("measure")
def test_a_damaged_file_is_named(sweep) -> None:
    folder = Path("multirun/default")
    folder.mkdir(parents=True)
    for text in ("{", "[]", '{"schema": 1}', '{"schema": 2}'):
        (folder / "precision.json").write_text(text)
        with pytest.raises(DataError, match=r"precision\.json.*remove it"):
            sweep("strategy=ftl")


@pytest.mark.slow
def test_where_bfloat16_is_wrong_for_one_network_it_decides(composed) -> None:
    cpu = ["trainer.accelerator=cpu", "data.batch_size=4"]
    flat = spec_of(composed(["backbone=resnet18", "data.image_size=32", *cpu]))
    volumes = ["data=phantom3d", "data.image_size=[8,32,32]", "data.in_channels=3"]
    deep = spec_of(composed(["backbone=resnet3d_10", *volumes, *cpu]))
    found = precision.measured([flat, deep])
    assert found.network == "resnet3d_10"
    assert found.precision == "32-true"
    settled = precision.Settled("bf16-mixed", True, "resnet18", "cpu", {})
    with pytest.raises(ConfigError, match=r"wrong gradients for .* of resnet3d_10"):
        settled.check([deep], Path("x"))

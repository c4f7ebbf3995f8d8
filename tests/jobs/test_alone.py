"""One run in a process of its own, of a configuration that is composed already."""

import pytest

import ttl_lightning as ttl
from ttl_lightning.jobs import alone
from ttl_lightning.jobs.alone import CARRIED, forks, task_of
from ttl_lightning.jobs.job import Job, spec_of
from ttl_lightning.jobs.process import Call, Command, call
from ttl_lightning.records.schema import RunResult


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.accelerator=cpu"], True),
        (["trainer.accelerator=cpu", "trainer.devices=2"], False),
        (["trainer.accelerator=cpu", "trainer.devices=auto"], True),  # one CPU is what that means
        (["trainer.devices=auto"], False),
        (["trainer.accelerator=gpu"], False),
        (["trainer.accelerator=tpu"], False),
        (["+trainer.num_nodes=2"], False),
    ],
)
def test_what_may_be_a_fork(overrides, expected, composed, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert forks(spec_of(composed(overrides))) == expected


def test_a_gpu_wants_an_interpreter_of_its_own(composed, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not forks(spec_of(composed(["trainer.accelerator=auto"])))
    assert forks(spec_of(composed(["trainer.accelerator=cpu"])))


def test_a_configuration_is_carried_to_the_ranks(composed, small, monkeypatch) -> None:
    job = Job.from_hydra(composed([*small, "strategy=ftl", "trainer.devices=2"]))
    task = task_of(job.composed, job.spec)
    assert isinstance(task, Command)
    here = Job.from_hydra(composed([*small]))
    assert isinstance(task_of(here.composed, here.spec), Call)
    given = []
    monkeypatch.setattr(alone, "perform", given.append)
    monkeypatch.setenv(CARRIED, task.variables[CARRIED])
    alone.main()
    assert given == [job.composed]


@pytest.mark.slow  # a process of its own
def test_a_job_gives_what_the_command_gives(composed, small, workdir) -> None:
    overrides = [*small, "strategy=ttl", "cutoff=block2", "name='it, is=odd'"]
    job = Job.from_hydra(composed(overrides))
    call(alone.perform, job.composed)
    ours = RunResult.load(job.folder)
    theirs = ttl.train(overrides=overrides, run_dir=workdir / "alone")
    assert ours.metrics == theirs.metrics
    assert ours.overrides == overrides
    assert ours.config_sha256 == theirs.config_sha256 == job.fingerprint
    assert (job.folder / "config.yaml").read_text() == (
        workdir / "alone" / "config.yaml"
    ).read_text()
    assert "weights: none" in (job.folder / "run.log").read_text()

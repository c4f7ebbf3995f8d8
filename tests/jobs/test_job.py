"""One job: when it is done, who runs it, and what is recorded of its end."""

import pickle
import signal
import threading
import time
from dataclasses import replace

import pytest
from filelock import FileLock
from hydra.types import RunMode
from omegaconf import OmegaConf

from ttl_lightning.jobs.job import Job
from ttl_lightning.jobs.process import End, Limits
from ttl_lightning.records.schema import RunResult


@pytest.fixture
def job(composed, small) -> Job:
    return Job.from_hydra(composed([*small, "strategy=ttl", "cutoff=block1", "seed=4"]))


@pytest.fixture
def process(monkeypatch):
    """Stands for the job's process: what it writes, and how it ends."""
    calls = []

    def set_to(end: End, effect=lambda: None, log="") -> list:
        def run(task, path, **_):
            calls.append(task)
            with path.open("a") as file:
                file.write(log)
            effect()
            return end

        monkeypatch.setattr("ttl_lightning.jobs.job.run", run)
        return calls

    return set_to


def write(job: Job, status: str, error: str | None = None, epochs: int = 1, **fields) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    result = RunResult("n", "phantom", "b", "ttl", "block1.1", 2, 4, status=status, error=error)
    result = replace(result, config_sha256=fields.get("fingerprint", job.fingerprint))
    result.train.update({"epochs": epochs})
    result.save(job.folder)


def attempt(job: Job, since: float | None = None) -> RunResult | None:
    return job.attempt(
        since=time.time() + 60 if since is None else since,
        limits=Limits(), stop=threading.Event(), variables={},
    )  # fmt: skip


def test_a_completed_job_is_not_run(job, process) -> None:
    calls = process(End(0))
    write(job, "completed")
    assert attempt(job).status == "completed"
    assert not calls


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_job_that_is_not_completed_is_run(status, job, process) -> None:
    calls = process(End(0), lambda: write(job, "completed"))
    write(job, status, "of old")
    assert attempt(job).status == "completed"
    assert len(calls) == 1


def test_a_failure_of_this_very_sweep_is_not_tried_again(job, process) -> None:
    calls = process(End(1))
    write(job, "failed", "seen by a sweep beside this one")
    assert attempt(job, since=time.time() - 60).error == "seen by a sweep beside this one"
    assert not calls


def test_another_configuration_is_another_job(job, process) -> None:
    calls = process(End(0), lambda: write(job, "completed"))
    write(job, "completed", fingerprint="0" * 64)
    attempt(job)
    assert len(calls) == 1


def test_anew_means_anew_but_once(composed, small, process) -> None:
    job = Job.from_hydra(composed([*small, "strategy=ftl", "resume=never"]))
    calls = process(End(0), lambda: write(job, "completed"))
    write(job, "completed")
    attempt(job)
    assert len(calls) == 1
    attempt(job, since=time.time() - 60)
    assert len(calls) == 1


def test_a_pause_long_enough_is_not_run(composed, small, process) -> None:
    overrides = [*small, "strategy=ftl"]
    for until, runs in ((2, 0), (3, 1)):
        job = Job.from_hydra(composed([*overrides, f"until_epoch={until}"]))
        calls = process(End(0), lambda job=job: write(job, "paused", epochs=3))
        write(job, "paused", epochs=2)
        attempt(job)
        assert len(calls) == runs


def test_a_job_that_another_process_runs_is_left_to_it(job, process) -> None:
    calls = process(End(0), lambda: write(job, "completed"))
    job.folder.mkdir(parents=True)
    with FileLock(job.folder / ".lock"):
        assert attempt(job) is None
    assert not calls
    assert attempt(job).status == "completed"


@pytest.mark.parametrize(
    ("end", "log", "status", "text"),
    [
        (End(-signal.SIGKILL), "epoch 1\n", "failed", "killed by SIGKILL"),
        (End(1), "Traceback\nValueError: x\n", "failed", "status 1; its log ends: ValueError: x"),
        (End(2), "error: data.path: no such file\n", "failed", "data.path: no such file"),
        (End(0), "", "failed", "exited with status 0"),
        (End(-signal.SIGINT, "took longer than its 1 minutes"), "", "failed", "took longer"),
        (End(1, "interrupted"), "", "interrupted", None),
    ],
)  # fmt: skip
def test_the_cause_is_recorded(job, process, end, log, status, text) -> None:
    process(end, log=log)
    attempt(job)
    result = RunResult.load(job.folder)
    assert result.status == status
    assert (text is None and result.error is None) or text in result.error
    assert result.log_tail == log.splitlines()
    assert (result.seed, result.strategy) == (4, "ttl")


def test_what_the_job_says_itself_is_kept(job, process) -> None:
    process(End(1), lambda: write(job, "failed", "NonFiniteLossError: at step 3"))
    assert attempt(job).error == "NonFiniteLossError: at step 3"


def test_what_it_said_last_time_is_not(job, process) -> None:
    write(job, "failed", "of old")
    time.sleep(0.05)
    process(End(-signal.SIGKILL))
    assert "SIGKILL" in attempt(job).error


def test_an_exit_of_its_own_is_a_failure(job, process) -> None:
    process(End(3), lambda: write(job, "interrupted", "SystemExit: 3"))
    result = attempt(job)
    assert (result.status, result.error) == ("failed", "SystemExit: 3")


def test_a_job_is_composed_as_one_run_in_its_folder(composed, small) -> None:
    extra = ["hydra.sweep.dir=elsewhere", "hydra.verbose=true", "name='it, is=odd'"]
    job = Job.from_hydra(composed([*small, "strategy=ftl", *extra]))
    assert job.folder.is_relative_to(job.cwd / "elsewhere")
    settings = pickle.loads(pickle.dumps(job.composed)).hydra  # as its process gets it
    assert (settings.mode, settings.run.dir, settings.verbose) == (
        RunMode.RUN, str(job.folder), True,
    )  # fmt: skip
    assert job.composed.name == job.spec.name == "it, is=odd"
    assert "hydra" not in job.spec.values


@pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/:UserWarning")
@pytest.mark.parametrize("launcher", ["process", "submitit_local", "submitit_slurm"])
def test_a_job_reaches_its_process_whatever_launches_it(launcher, composed, small) -> None:
    made = composed([*small, "strategy=ftl", f"hydra/launcher={launcher}"])
    settings = pickle.loads(pickle.dumps(Job.from_hydra(made).composed)).hydra
    assert settings.launcher == made.hydra.launcher
    assert OmegaConf.get_type(settings, "launcher") is dict


def test_data_that_change_meanwhile_are_the_cause(job, process) -> None:
    def other() -> None:
        write(job, "completed", fingerprint="0" * 64)
        result = RunResult.load(job.folder)
        result.identity.update({**job.identity, "content": {"file": "another"}})
        result.save(job.folder)

    process(End(0), other)
    result = attempt(job)
    assert result.status == "failed"
    assert result.error == "content.file changed while the sweep ran: give it again"

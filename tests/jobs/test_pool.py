"""Who runs next, and on which devices."""

import threading
import time
from types import SimpleNamespace

import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.jobs.pool import VISIBLE, Devices, Pool
from ttl_lightning.jobs.process import Limits
from ttl_lightning.records.schema import RunResult


class FakeJob:
    """Takes a while, and notes what it was given."""

    def __init__(self, name, *, seconds=0.05, busy=0, devices=1, accelerator="auto") -> None:
        self.name, self.seconds, self.busy = name, seconds, busy
        trainer = SimpleNamespace(accelerator=accelerator, devices=devices)
        protocol = SimpleNamespace(monitor="val/auprc")
        self.spec = SimpleNamespace(trainer=trainer, protocol=protocol)
        self.folder = self.cwd = ""
        self.span, self.variables = (0.0, 0.0), {}

    def attempt(self, *, since, limits, stop, variables):
        if self.busy:
            self.busy -= 1
            return None
        start = time.monotonic()
        stop.wait(self.seconds)
        self.span, self.variables = (start, time.monotonic()), variables
        status = "interrupted" if stop.is_set() else "completed"
        return RunResult(self.name, "d", "b", "s", None, None, 0, status=status)


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr("ttl_lightning.jobs.pool.WAIT_S", 0.01)
    monkeypatch.setattr("os.path.relpath", lambda path, _: path)


def overlap(jobs) -> int:
    """Most of them that ran at one time."""
    starts = [job.span[0] for job in jobs]
    return max(sum(job.span[0] <= start < job.span[1] for job in jobs) for start in starts)


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_so_many_at_once_and_results_in_order(n_jobs) -> None:
    jobs = [FakeJob(str(k), seconds=0.1) for k in range(6)]
    results = Pool(n_jobs, devices=[]).run(jobs)
    assert [result.name for result in results] == [job.name for job in jobs]
    assert overlap(jobs) == n_jobs


def test_a_job_that_another_sweep_runs_is_waited_for_last() -> None:
    jobs = [FakeJob("busy", busy=3), FakeJob("free"), FakeJob("free too")]
    results = Pool(1, devices=[]).run(jobs)
    assert {result.status for result in results} == {"completed"}
    assert jobs[0].span[0] > jobs[2].span[1]


def test_each_job_sees_its_own_gpus() -> None:
    jobs = [FakeJob(str(k), seconds=0.2) for k in range(2)]
    Pool(devices=["0", "1"]).run(jobs)
    assert overlap(jobs) == 2
    assert {job.variables[VISIBLE] for job in jobs} == {"0", "1"}
    none = FakeJob("none", accelerator="cpu")
    Pool(devices=["0", "1"]).run([none])
    assert none.variables[VISIBLE] == ""
    both = FakeJob("both", devices=2)
    Pool(devices=["4", "7"]).run([both])
    assert both.variables[VISIBLE] == "4,7"


def test_devices_are_dealt_out_evenly() -> None:
    devices = Devices(["a", "b", "c"])
    first, second, third = devices.take(1), devices.take(1), devices.take(1)
    assert sorted(first + second + third) == ["a", "b", "c"]
    assert len(devices.take(2)) == 2
    assert devices.take(None) == ["a", "b", "c"]
    alone = Devices(["a", "b"])
    taken = alone.take(1)
    alone.give_back(taken)
    alone.take(1)
    assert alone.take(1) == ["b"]


def test_cores_are_shared_out(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("ttl_lightning.jobs.pool.usable", lambda: 8)
    jobs = [FakeJob("0"), FakeJob("1", devices=2)]
    Pool(2, devices=[]).run(jobs)
    assert [job.variables.get("OMP_NUM_THREADS") for job in jobs] == ["4", "2"]
    alone = FakeJob("alone")
    Pool(1, devices=[]).run([alone])
    assert "OMP_NUM_THREADS" not in alone.variables


def test_as_many_as_the_machine_has_to_spare(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("ttl_lightning.jobs.pool.usable", lambda: 8)
    monkeypatch.setattr("ttl_lightning.runtime.threads.usable", lambda: 8)
    monkeypatch.setattr("ttl_lightning.runtime.threads.os.cpu_count", lambda: 8)
    world = {"busy": 0.0, "free": 100e9}
    monkeypatch.setattr("ttl_lightning.jobs.pool.busy_elsewhere", lambda: world["busy"])
    monkeypatch.setattr("ttl_lightning.jobs.pool.free_memory", lambda _: world["free"])
    assert Pool(devices=[]).n_jobs == 8
    world["busy"] = 5.2
    assert Pool(devices=[]).n_jobs == 3
    world["busy"] = 20.0
    assert Pool(devices=[]).n_jobs == 1
    world.update(busy=0.0, free=17e9)
    assert Pool(devices=[]).n_jobs == 2
    assert Pool(devices=[], limits=Limits(mem_gb=5)).n_jobs == 3
    assert Pool(4, devices=[]).n_jobs == 4

    world["free"] = 100e9
    jobs = [FakeJob(str(k), seconds=0.1) for k in range(2)]
    Pool(devices=[]).run(jobs)
    assert overlap(jobs) == 2
    assert [job.variables["OMP_NUM_THREADS"] for job in jobs] == ["4", "4"]
    alone = FakeJob("alone")
    Pool(devices=[]).run([alone])
    assert "OMP_NUM_THREADS" not in alone.variables
    ranks = [FakeJob(str(k), seconds=0.1, devices=4) for k in range(3)]
    Pool(devices=[]).run(ranks)
    assert overlap(ranks) == 2
    assert {job.variables["OMP_NUM_THREADS"] for job in ranks} == {"1"}


def test_an_interrupt_stops_the_running_and_begins_no_more(monkeypatch) -> None:
    jobs = [FakeJob("0", seconds=30), FakeJob("1", seconds=30)]
    pool = Pool(1, devices=[])

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    threads = []

    def submit(_, work) -> SimpleNamespace:
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return SimpleNamespace(result=interrupt)

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", submit)
    with pytest.raises(KeyboardInterrupt):
        pool.run(jobs)
    for thread in threads:
        thread.join(timeout=10)
    assert jobs[1].span == (0.0, 0.0)


def test_n_jobs_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="n_jobs"):
        Pool(0)

"""One command, its limits, and what is left of it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.jobs import process
from ttl_lightning.jobs.process import Call, Command, Limits, call, environment, memory_gb, run

NONE = Limits()


def command(code: str) -> Command:
    return Command((sys.executable, "-c", code))


def fork(code: str) -> Call:
    return Call(exec, (code, {}))


either = pytest.mark.parametrize("task", [command, pytest.param(fork, marks=pytest.mark.slow)])


def python(code: str, tmp_path: Path, task=command, limits: Limits = NONE):
    return run(
        task(code),
        tmp_path / "log",
        cwd=Path.cwd(),
        env=process.environment(os.environ),
        limits=limits,
        stop=threading.Event(),
    )


@either
def test_status_and_output_are_kept(task, tmp_path) -> None:
    assert python("print('one'); raise SystemExit(3)", tmp_path, task).returncode == 3
    assert python("import os; os.system('echo two')", tmp_path, task).returncode == 0
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


@either
def test_what_is_raised_is_in_the_log(task, tmp_path) -> None:
    assert python("raise ValueError('no such luck')", tmp_path, task).returncode == 1
    assert (tmp_path / "log").read_text().endswith("\nValueError: no such luck\n")


@either
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_is_told(task, number, tmp_path) -> None:
    end = python(f"import os; os.kill(os.getpid(), {int(number)})", tmp_path, task)
    assert (end.returncode, end.stopped) == (-number, None)


@pytest.mark.slow
@either
def test_a_timeout_interrupts_first(task, tmp_path) -> None:
    # as nohup starts it, and what a job does about it
    code = (
        "import signal, time; from ttl_lightning.jobs.server import die_with_parent\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); die_with_parent()\n"
        "try: time.sleep(60)\nexcept KeyboardInterrupt: print('saved')"
    )
    python("pass", tmp_path, task)
    start = time.monotonic()
    # long enough for Python itself to start where other work runs
    end = python(code, tmp_path, task, Limits(timeout_min=3 / 60))
    assert end.stopped is not None
    assert "hydra.launcher.timeout_min" in end.stopped
    assert (tmp_path / "log").read_text() == "saved\n"
    assert time.monotonic() - start < 30


@either
def test_memory_of_children_counts(task, tmp_path) -> None:
    code = (
        "import subprocess, sys\n"
        "eat = 'import time; x = bytearray(400_000_000); time.sleep(60)'\n"
        "subprocess.run([sys.executable, '-c', eat])"
    )
    end = python(code, tmp_path, task, Limits(mem_gb=0.3))
    assert end.returncode == -signal.SIGKILL
    assert "more than its 0.3 GB" in str(end.stopped)


def test_shared_memory_counts_once() -> None:
    code = (
        "import os, time\n"
        "x = bytearray(200_000_000)\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0: break\n"
        "print(sum(x[::4096]), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        for _ in range(4):
            process.stdout.readline()
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        assert sum(member.memory_info().rss for member in family) > 0.8e9
        used = memory_gb(process.pid, enough=0.1)
        for member in family:
            member.kill()
    assert 0.2 < used < 0.5


@either
def test_nothing_outlives_a_job(task, tmp_path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)"
    )
    python(code, tmp_path, task)
    pid = int((tmp_path / "log").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["Command((sys.executable, '-c', job))", "Call(exec, (job, {}))"])
def test_a_job_dies_with_the_process_that_started_it(task, tmp_path) -> None:
    job = (
        "import time; from ttl_lightning.jobs.server import die_with_parent\n"
        "die_with_parent(); print('up', flush=True); time.sleep(60)"
    )
    sweep = (
        "import os, sys, threading; from pathlib import Path\n"
        "from ttl_lightning.jobs.process import Call, Command, Limits, environment, run\n"
        f"job = {job!r}\n"
        f"run({task}, Path('log'), cwd=Path(), limits=Limits(),\n"
        "    env=environment(os.environ), stop=threading.Event())"
    )
    with subprocess.Popen([sys.executable, "-c", sweep], cwd=tmp_path) as sweeping:
        log, deadline = tmp_path / "log", time.monotonic() + 120
        while not (log.is_file() and log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        family = psutil.Process(sweeping.pid).children(recursive=True)
        sweeping.kill()
    gone, _ = psutil.wait_procs(family, timeout=10)
    assert len(gone) == len(family)


@pytest.mark.slow  # a process of its own
def test_a_function_gives_its_value_or_raises_its_error() -> None:
    assert call(divmod, 7, 2) == (3, 1)
    assert call(os.getpid) not in (os.getpid(), call(os.getpid))
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.mem_gb") as caught:
        call(Limits, None, -1)
    assert "__post_init__" in caught.value.__notes__[0]  # where it was raised


@pytest.mark.slow  # a process of its own
@pytest.mark.parametrize(("code", "status"), [("os._exit(9)", 9), ("os.abort()", -signal.SIGABRT)])
def test_a_function_whose_process_dies_is_an_error(code, status) -> None:
    with pytest.raises(ChildProcessError) as caught:
        call(exec, f"import os; {code}", {})
    assert caught.value.errno == status


def test_ranks_of_an_outer_job_are_not_handed_on() -> None:
    given = {"LOCAL_RANK": "1", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "HOME": "/h"}
    kept = environment(given)
    assert kept["HOME"] == "/h"
    assert not {"LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID"} & set(kept)
    assert environment(given, slurm_task=True)["SLURM_PROCID"] == "0"


@pytest.mark.parametrize("limits", [{"timeout_min": 0}, {"mem_gb": -1}, {"mem_gb": "much"}])
def test_limits_must_be_positive(limits) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\."):
        Limits(**limits)

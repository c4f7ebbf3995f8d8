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
from ttl_lightning.jobs.process import Limits, environment, memory_gb, run

NONE = Limits()


def python(code: str, tmp_path: Path, limits: Limits = NONE):
    return run(
        [sys.executable, "-c", code],
        tmp_path / "log",
        cwd=tmp_path,
        env=environment(os.environ),
        limits=limits,
        stop=threading.Event(),
    )


def test_status_and_output_are_kept(tmp_path) -> None:
    assert python("print('one'); raise SystemExit(3)", tmp_path).returncode == 3
    assert python("print('two')", tmp_path).returncode == 0
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_signal_is_told(tmp_path) -> None:
    end = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert (end.returncode, end.stopped) == (-signal.SIGKILL, None)


def test_a_timeout_interrupts_first(tmp_path) -> None:
    # as nohup starts it, and what a job does about it
    code = (
        "import signal, time; from ttl_lightning.jobs.process import die_with_parent\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); die_with_parent()\n"
        "try: time.sleep(60)\nexcept KeyboardInterrupt: print('saved')"
    )
    start = time.monotonic()
    # long enough for Python itself to start where other work runs
    end = python(code, tmp_path, Limits(timeout_min=3 / 60))
    assert end.stopped is not None
    assert "hydra.launcher.timeout_min" in end.stopped
    assert (tmp_path / "log").read_text() == "saved\n"
    assert time.monotonic() - start < 30


def test_memory_of_children_counts(tmp_path) -> None:
    code = (
        "import subprocess, sys\n"
        "eat = 'import time; x = bytearray(400_000_000); time.sleep(60)'\n"
        "subprocess.run([sys.executable, '-c', eat])"
    )
    end = python(code, tmp_path, Limits(mem_gb=0.3))
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


def test_nothing_outlives_a_job(tmp_path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)"
    )
    python(code, tmp_path)
    pid = int((tmp_path / "log").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_dies_with_the_process_that_started_it(tmp_path) -> None:
    job = (
        "import time; from ttl_lightning.jobs.process import die_with_parent\n"
        "die_with_parent(); print('up', flush=True); time.sleep(60)"
    )
    sweep = (
        "import os, sys, threading; from pathlib import Path\n"
        "from ttl_lightning.jobs.process import Limits, environment, run\n"
        f"run([sys.executable, '-c', {job!r}], Path('log'), cwd=Path(), limits=Limits(),\n"
        "    env=environment(os.environ), stop=threading.Event())"
    )
    with subprocess.Popen([sys.executable, "-c", sweep], cwd=tmp_path) as process:
        log, deadline = tmp_path / "log", time.monotonic() + 60
        while not (log.is_file() and log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (child,) = psutil.Process(process.pid).children()
        process.kill()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone


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

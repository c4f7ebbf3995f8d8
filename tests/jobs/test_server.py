"""The process that others are forked from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ttl_lightning.jobs import process, server
from ttl_lightning.jobs.process import call
from ttl_lightning.jobs.server import IMPORTS, forked


@pytest.mark.slow
def test_the_imports_touch_no_gpu_and_start_no_thread() -> None:
    code = (
        "import importlib, threading, torch\n"
        "def touched(*_, **__): raise AssertionError('a GPU was asked for')\n"
        "for name in ('is_available', 'device_count', '_lazy_init'):\n"
        "    setattr(torch.cuda, name, touched)\n"
        f"for name in {IMPORTS}: importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # processes of their own
def test_forks_share_a_server_and_do_not_need_it() -> None:
    env = process.environment(os.environ)
    parents = [call(os.getppid) for _ in range(2)]  # their keepers
    assert parents[0] != parents[1]
    with forked(
        exec, ("import time; time.sleep(1); raise SystemExit(4)", {}), None, Path.cwd(), env
    ) as fork:
        one = server._servers[-1]
        assert one.serves(Path.cwd(), env)
        one._process.kill()
        one._process.wait()
        assert fork.wait() == 4
    assert call(abs, -3) == 3  # of another server
    other = server._servers[-1]
    assert other is not one
    assert not other.serves(Path.cwd(), {**env, "OMP_NUM_THREADS": "7"})


@pytest.mark.slow  # processes of their own
def test_a_fork_whose_keeper_dies_counts_as_killed() -> None:
    env = process.environment(os.environ)
    with forked(exec, ("import time; time.sleep(2)", {}), None, Path.cwd(), env) as fork:
        psutil.Process(fork.pid).parent().kill()
        assert fork.wait() == -signal.SIGKILL

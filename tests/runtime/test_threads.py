"""Threads are as many as the machine has to spare; what is said outside of a run holds."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest
import torch

import ttl_lightning as ttl
from tests.conftest import SMALL
from ttl_lightning.runtime import threads
from ttl_lightning.runtime.threads import Threads, busy_elsewhere, choose, used


@pytest.fixture
def four(monkeypatch):
    """A machine of four processors, all of which this process may use."""
    monkeypatch.delenv(threads.GIVEN)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("busy", "count"), [(0.0, 4), (0.3, 4), (1.0, 3), (2.6, 1), (4.0, 1), (9.0, 1)]
)
def test_what_others_compute_on_is_left_to_them(busy, count) -> None:
    assert choose("auto", busy=busy).count == count


@pytest.mark.usefixtures("four")
def test_a_share_of_a_large_machine_is_used_whole_while_others_leave_it(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert choose("auto", busy=50.0).count == 4
    assert choose("auto", busy=62.0).count == 2


@pytest.mark.usefixtures("four")
def test_a_run_goes_on_with_as_many_as_it_began_with_where_there_are_so_many() -> None:
    assert choose("auto", kept=2, busy=0.0) == Threads(2, "as the run began")
    assert choose("auto", kept=8, busy=0.0).count == 4


@pytest.mark.usefixtures("four")
def test_a_number_and_the_environment_are_taken_at_their_word(monkeypatch) -> None:
    assert choose(3, kept=2, busy=9.0) == Threads(3, "trainer.threads")
    monkeypatch.setenv(threads.GIVEN, "4")
    assert choose("auto", busy=9.0) == Threads(4, threads.GIVEN)


def _spin(until: float) -> None:
    while time.monotonic() < until:
        pass


@pytest.mark.slow
def test_another_process_that_computes_is_seen_and_this_one_is_not() -> None:
    # compared with itself, as other tests compute meanwhile, too
    context = multiprocessing.get_context("fork")
    other = context.Process(target=_spin, args=(time.monotonic() + 3.0,))
    other.start()
    seen = busy_elsewhere(2.0)
    other.join()
    assert seen > 0.4


def test_the_number_of_before_returns_after_an_error() -> None:
    before = torch.get_num_threads()

    def failing() -> None:
        with used(before + 1):
            assert torch.get_num_threads() == before + 1
            assert os.environ[threads.GIVEN] == str(before + 1)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert torch.get_num_threads() == before
    assert os.environ[threads.GIVEN] == "1"


@pytest.mark.usefixtures("four")
def test_the_processes_of_a_run_share_what_is_free() -> None:
    assert choose("auto", busy=0.0, processes=2).count == 2
    assert choose("auto", busy=1.0, processes=2).count == 1
    assert choose("auto", busy=0.0, processes=8).count == 1


def test_a_run_computes_with_them_and_says_so(tmp_path) -> None:
    result = ttl.train(
        overrides=[*SMALL, "strategy=ffe", "trainer.threads=2", "trainer.max_epochs=1"],
        run_dir=tmp_path,
    )
    assert result.train["threads"] == 2
    assert torch.get_num_threads() == 1

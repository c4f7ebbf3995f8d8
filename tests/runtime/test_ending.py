"""What ends a command: one line on stderr, and the status of its kind."""

from __future__ import annotations

import errno
import signal

import pytest

from ttl_lightning.errors import ConfigError, NonFiniteLossError
from ttl_lightning.runtime.ending import told
from ttl_lightning.runtime.stopping import Terminated


@pytest.fixture(autouse=True)
def _signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def noted(stop: KeyboardInterrupt, note: str) -> KeyboardInterrupt:
    stop.add_note(note)
    return stop


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("seed\n is\x1b[2J wrong."), 2, r"error: seed is\x1b[2J wrong."),
        (NonFiniteLossError("the loss is nan."), 1, "error: the loss is nan."),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C."),
        (Terminated(), 143, "stopped by SIGTERM."),
        (noted(Terminated(), "give it again"), 143, "stopped by SIGTERM: give it again."),
        (MemoryError(), 2, "error: out of memory: lower data.batch_size"),
        (OSError(errno.ENOSPC, "No space left", "/x"), 2, "error: No space left /x: free some"),
    ],
)
def test_an_error_is_a_line_and_a_status(error, status, line, capsys) -> None:
    with pytest.raises(SystemExit) as end, told():
        raise error
    assert end.value.code == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (said,) = captured.err.splitlines()
    assert said.startswith(line)
    assert said == line or status == 2


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("a bug"), SystemExit(7)])
def test_an_error_of_the_program_passes(error, capsys) -> None:
    with pytest.raises(type(error)) as caught, told():
        raise error
    assert caught.value is error
    assert capsys.readouterr().err == ""


def test_inner_and_outer_say_it_once(capsys) -> None:
    with pytest.raises(SystemExit), told(), told():
        raise ConfigError("once.")
    assert capsys.readouterr().err == "error: once.\n"

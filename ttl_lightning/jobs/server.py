"""A process that has the imports of a run and no state, and is forked for whatever is to be run.

`python -m ttl_lightning.jobs.server FD` takes a socket for each call and forks twice: a keeper,
which waits and tells how the call ended, and its child, which makes the call. Neither needs the
server any more, so it may end, or be replaced, while they run.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# Tells a process that its standard input ends when the process that started it does.
SUPERVISED = "TTL_LIGHTNING_SUPERVISED"
# All that a run imports sooner or later; none of them starts a thread or touches a GPU.
IMPORTS = (
    "ttl_lightning.jobs.alone",
    "ttl_lightning.jobs.reuse",
    "fsspec.implementations.local",
    "hydra._internal.callbacks",
    "hydra._internal.logging_config",
    "matplotlib.backends.backend_agg",
    "rich._emoji_codes",
)


class Server:
    """Where forks come from: it has one working folder and one environment, as its forks do."""

    def __init__(self, cwd: Path, env: Mapping[str, str]) -> None:
        self.cwd, self.env = cwd, dict(env)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # a terminal's Ctrl-C is for the sweep alone, which sees to its jobs
                start_new_session=True,
            )

    def serves(self, cwd: Path, env: Mapping[str, str]) -> bool:
        """Whether it is alive, and as these want it."""
        return self._process.poll() is None and (self.cwd, self.env) == (cwd, dict(env))

    def connect(self) -> Connection:
        """The end of a socket whose other end a new fork has."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
        return Connection(ours.detach())

    def retire(self) -> None:
        """Let it end once it has made the forks that it was asked for, which go on."""
        self._control.close()

    def close(self) -> None:
        """End it at once; its forks go on."""
        self.retire()
        self._process.kill()
        self._process.wait()


class Forked:
    """A call that runs, as a `Process`.

    Attributes:
        answer: what the function gave, once it has.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.answer: Any = None
        self.returncode: int | None = None
        try:
            self.pid: int = connection.recv()
        except EOFError as error:
            raise ChildProcessError("the process that has the imports ended") from error

    def wait(self, timeout: float | None = None) -> int:
        """The return code, minus the signal's number where one ended it.

        Raises:
            subprocess.TimeoutExpired: if it runs on.
        """
        while self.returncode is None:
            if not self._connection.poll(timeout):
                raise subprocess.TimeoutExpired("a call", timeout or 0.0)
            try:
                told = self._connection.recv()
            except (EOFError, ConnectionError):  # its keeper was killed
                told = -signal.SIGKILL
            if isinstance(told, int):
                self.returncode = told
            else:
                (self.answer,) = told
        return self.returncode

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._connection.close()


_lock = threading.Lock()
_servers: list[Server] = []


def forked(
    function: Callable[..., object],
    arguments: tuple[Any, ...],
    log: Path | None,
    cwd: Path,
    env: Mapping[str, str],
) -> Forked:
    """Call a function in a fork, the leader of a process group of its own.

    Args:
        function: of a module.
        arguments: what can be pickled.
        log: file that its output is appended to; None: this process's own.
        cwd: folder to call it in.
        env: all its environment variables.

    Raises:
        OSError: if it cannot be started.
    """
    with _lock:
        connection = _server(cwd, env).connect()
    connection.send((None if log is None else str(log), pickle.dumps((function, arguments))))
    return Forked(connection)


def warm_up(cwd: Path, env: Mapping[str, str]) -> None:
    """Let the imports begin, for forks in this folder and environment."""
    with _lock:
        _server(cwd, env)


def _server(cwd: Path, env: Mapping[str, str]) -> Server:
    if not (_servers and _servers[-1].serves(cwd, env)):
        for earlier in _servers:
            earlier.retire()
        _servers.append(Server(cwd, env))
    return _servers[-1]


@atexit.register
def _close() -> None:
    while _servers:
        _servers.pop().close()


def main() -> None:
    """Serve until the process that started this one is gone; a call returns from here, too."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # a scheduler's SIGTERM goes to the jobs, too: who tells their ends has to outlive them
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":  # elsewhere, libraries of the system do not survive a fork
        for name in IMPORTS:
            importlib.import_module(name)
        gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    # idle threads of NumPy's, which provides for forks
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    while True:
        _, files, *_ = socket.recv_fds(control, 1, 1)
        if not files:
            return
        if os.fork():
            os.close(files[0])
            continue
        control.close()
        _keep(Connection(files[0]))
        return


def _keep(connection: Connection) -> None:
    """Fork once more, and tell how that one ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        _perform(connection)
        return
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        connection.send(os.waitstatus_to_exitcode(status))
    os._exit(0)


def _perform(connection: Connection) -> None:
    """Make the call; what it raises ends this process as any."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection.send(os.getpid())
    log, call = connection.recv()
    os.dup2(connection.fileno(), 0)
    if log is not None:
        with Path(log).open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    die_with_parent()
    function, arguments = pickle.loads(call)
    connection.send((function(*arguments),))


def die_with_parent() -> None:
    """In a job: kill its whole group as soon as the process that started it is gone.

    It also heeds an interrupt, which a sweep that nohup or a shell's & started has been told to
    ignore: its jobs are interrupted before they are killed.
    """
    if os.environ.get(SUPERVISED) is None:
        return
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="die with parent").start()


if __name__ == "__main__":
    main()

"""`ttl-lightning COMMAND …`: finds the command, and lets `runtime.ending` tell what goes wrong.

A command is a module of this folder with `usage(arguments)`, its help's text, and `run(arguments)`.
Both import what takes seconds when they need it: help comes at once.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from ttl_lightning import __version__
from ttl_lightning.cli import completion
from ttl_lightning.errors import check_choice
from ttl_lightning.runtime.ending import told

COMMANDS = {
    "train": "one run, or with -m a sweep of many; also where no command is named",
    "report": "the report of a sweep",
    "evaluate": "a finished run on data that it has not seen",
    "predict": "a finished run on images of which nothing is known",
    "export": "a finished run as a file that other programs load",
    "latency": "the time of a finished run's network beside the whole one's",
    "paper": "the paper's tables and figures, beside its numbers",
    "analyze": "what a finished run has learnt",
    "probe": "what each cutoff promises, before any training",
    "cost": "what each cutoff costs, without data or training",
    "backbones": "the networks that there are, and where they can be cut",
}
HELP = ("-h", "--help")
# What is neither KEY=VALUE nor a flag is meant for a command's name.
_WORD = re.compile(r"[A-Za-z][\w-]*")


class Command(Protocol):
    """What a command's module has."""

    def usage(self, arguments: Sequence[str]) -> str:
        """The help's text, for the choices that the arguments make."""

    def run(self, arguments: Sequence[str]) -> None:
        """Do what the arguments ask for.

        Raises:
            TTLError: if they cannot be done.
        """


def main(*command: str) -> None:
    """Run the command line.

    Args:
        command: what stands before the arguments that were given, for the older doors.
    """
    arguments = [*command, *sys.argv[1:]]
    with told():
        if arguments == ["--version"]:
            _say(f"ttl_lightning {__version__}")
        elif len(arguments) == 1 and arguments[0] in HELP:
            _say(usage())
        elif completion.is_asked(arguments):
            completion.answer(arguments, COMMANDS)
        else:
            _run(arguments)


def usage() -> str:
    """The help's text: every command."""
    lines = ["usage: ttl-lightning [COMMAND] …", ""]
    lines += [f"  {name:<9}{summary}" for name, summary in COMMANDS.items()]
    lines += [
        "",
        "`ttl-lightning COMMAND --help` says more. `python -m ttl_lightning` is the same.",
    ]
    lines += ["", "  ttl-lightning strategy=ttl cutoff=block3"]
    lines += ["  ttl-lightning -m strategy=ftl,ttl cutoff=block2,block3 seed=0,1,2"]
    return "\n".join(lines)


def _run(arguments: Sequence[str]) -> None:
    name, rest = _chosen(arguments)
    command = cast("Command", importlib.import_module(f"ttl_lightning.cli.{name}"))
    if any(argument in HELP for argument in rest):
        _say(command.usage([argument for argument in rest if not argument.startswith("-")]))
    else:
        command.run(rest)


def _chosen(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    if not arguments or not _WORD.fullmatch(arguments[0]):
        return "train", arguments
    check_choice("command", arguments[0], COMMANDS)
    return arguments[0], arguments[1:]


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command's output

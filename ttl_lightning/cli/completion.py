"""Completion in a shell: Hydra's own, which knows no commands, behind their names.

`ttl-lightning -sc install=bash` prints Hydra's script, which asks here at each press of the key.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

FLAGS = ("-sc", "--shell-completion")
LINE = "COMP_LINE"


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether a shell asks what may come next."""
    flag = any(argument in FLAGS for argument in arguments)
    return flag and any(argument.startswith("query=") for argument in arguments)


def answer(arguments: Sequence[str], commands: Iterable[str]) -> None:
    """Print what may stand where the line ends; the shell keeps what begins as the last word does.

    Args:
        arguments: `-sc query=SHELL`; the line is in the environment.
        commands: their names.
    """
    program, *words = os.environ[LINE].split()
    unfinished = words.pop() if words and not os.environ[LINE].endswith(" ") else ""
    if not words:
        print(*commands)  # noqa: T201 - what the shell reads
    command = words.pop(0) if words and words[0] in commands else "train"
    if command == "analyze":
        print(*_of_analyze(words))  # noqa: T201
    elif command != "report":  # a folder, which the shell itself knows
        from ttl_lightning.cli import train

        os.environ[LINE] = " ".join([program, *words, unfinished])
        train.run(arguments)


def _of_analyze(words: Sequence[str]) -> list[str]:
    from ttl_lightning.cli.analyze import KINDS

    if not words:
        return list(KINDS)
    options = dataclasses.fields(KINDS[words[0]].options) if words[0] in KINDS else ()
    return ["run=", "device=", *(f"{option.name}=" for option in options)]

"""`ttl-lightning analyze KIND run=FOLDER`: what a finished run has learnt."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttl_lightning.cli.arguments import chosen, shown
from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.interpret.commands import options

if TYPE_CHECKING:
    from ttl_lightning.interpret.commands.findings import Findings

USE = """usage: ttl-lightning analyze KIND run=FOLDER [KEY=VALUE …]

KIND is one of:
{kinds}

Every kind takes device=auto|cpu|cuda, and data.KEY=VALUE where the data have moved since the run.
Results go to FOLDER/analysis: KIND.json, KIND.csv, KIND.png."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One analysis: what it says in one line, and its options; its module is called as it is."""

    summary: str
    options: type


KINDS = {
    "transfer": Kind("every unit before and after training", options.Transfer),
    "cross": Kind("pairs of units of one model", options.Cross),
    "probe": Kind("a linear classifier on every unit", options.Probe),
    "detect": Kind("where to cut, from a run of ftl", options.Detect),
    "gradcam": Kind("where runs look", options.Gradcam),
    "visualize": Kind("what channels respond to", options.Visualize),
}


def run(arguments: Sequence[str]) -> None:
    """Print what was found, and the files that were written.

    Raises:
        TTLError: as in `analyze`.
    """
    if not arguments:
        raise ConfigError(f"which kind of analysis? {', '.join(KINDS)}; --help says more.")
    findings, files = analyze(arguments[0], arguments[1:])
    for line in (findings.headline[0].upper() + findings.headline[1:], *files):
        print(line)  # noqa: T201 - a command's output


def usage(arguments: Sequence[str]) -> str:  # noqa: ARG001 - as of every command
    """The help's text, with every kind and its options."""
    lines = []
    for name, kind in KINDS.items():
        lines.append(f"  {name:<11}{kind.summary} ({shown(kind.options)})")
    return USE.format(kinds="\n".join(lines))


def analyze(kind: str, arguments: Sequence[str]) -> tuple[Findings, list[Path]]:
    """Open the run, analyse it, and write what was found into its folder.

    Args:
        kind: one of `KINDS`.
        arguments: `run=FOLDER`, the kind's options, and overrides of the data's keys.

    Returns:
        What was found, and the files.

    Raises:
        TTLError: if an argument is unknown or out of range, or the run cannot be opened.
    """
    check_choice("kind of analysis", kind, KINDS)
    folder, device, given, overrides = _parsed(arguments, KINDS[kind].options)

    from ttl_lightning.runs.callbacks.progress import quiet
    from ttl_lightning.runs.open import open_run

    report = importlib.import_module(f"ttl_lightning.interpret.commands.{kind}").report
    with quiet():
        run = open_run(folder, overrides, device)
        findings = report(run, given)
    return findings, findings.write(run.place(kind))


def _parsed(arguments: Sequence[str], kind: type) -> tuple[str, str, Any, list[str]]:
    own: dict[str, str] = {"device": "auto"}
    known = sorted(["run", "device", *(field.name for field in dataclasses.fields(kind))])
    given, overrides = [], []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(f"cannot read {argument!r}: arguments are KEY=VALUE.")
        if key.startswith("data."):
            overrides.append(argument)
        elif key in ("run", "device"):
            own[key] = value
        else:
            check_choice("argument", key, known)
            given.append(argument)
    if not own.get("run"):
        raise ConfigError("which run? Give run=FOLDER.")
    check_choice("device", own["device"], ("auto", "cpu", "cuda"))
    return own["run"], own["device"], chosen(kind, given), overrides

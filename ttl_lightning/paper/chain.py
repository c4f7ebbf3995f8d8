"""Runs what an entry needs: each sweep and analysis is a command, and goes on with the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.paper.entry import Analysis, Entry, Pick, Sweep
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.report.collect import collect
from ttl_lightning.report.compare import best
from ttl_lightning.report.methods import Method, group
from ttl_lightning.report.render import best_run
from ttl_lightning.runs.fingerprint import resolved_unit


@dataclass(frozen=True, slots=True)
class Chain:
    """An entry at a scale, in a folder.

    Attributes:
        root: of the sweeps' folders.
        scale: one of `SCALES`.
        given: the user's overrides; `NAME:KEY=VALUE` is for sweeps whose name begins so.
    """

    entry: Entry
    root: Path
    scale: str
    given: tuple[str, ...]

    def run(self) -> None:
        """Run all of it, or what is left of it.

        Raises:
            TTLError: if a command fails; what is done is kept.
        """
        names = [sweep.name for sweep in self.entry.sweeps]
        for argument in self.given:
            name, colon, _ = argument.partition("=")[0].partition(":")
            if colon and not any(one.startswith(name) for one in names):
                raise ConfigError(
                    f"{argument}: no sweep of {self.entry.name} begins with {name!r}. Allowed: "
                    f"{', '.join(names)}."
                )
        for sweep in self.entry.sweeps:
            self._call(["-m", *self.arguments(sweep)], sweep.name)
        for analysis in self.entry.analyses:
            self._call(["analyze", analysis.kind, *self._asked(analysis)], analysis.kind)

    def arguments(self, sweep: Sweep) -> list[str]:
        """Of a sweep's command; of two with one key the later one counts."""
        own = []
        for argument in self.given:
            name, colon, rest = argument.partition(":")
            before_value = "=" not in name
            if colon and before_value:
                own += [rest] if sweep.name.startswith(name) else []
            else:
                own.append(argument)
        begin: list[str] = []
        if sweep.after is not None:
            begin = [f"backbone.weights={self.folder_of(Pick(sweep.after, 'ftl'))}"]
        scaled = sweep.small if self.scale == "small" else sweep.data
        merged = _merged([*sweep.args, *scaled, *begin, *own])
        return [*merged, f"hydra.sweep.dir={self.root / sweep.name}"]

    def methods(self, pick: Pick) -> list[Method]:
        """The completed settings that are picked, in the order of their cutoffs.

        Raises:
            DataError: if the sweep has no folder.
        """
        runs = collect(self.root / pick.sweep).having("completed")
        found = [m for g in group(runs) for m in g.methods if m.strategy == pick.strategy]
        if pick.cutoffs == "blocks":
            ends = _block_ends(found)
            found = [method for method in found if method.cutoff in ends]
        return found

    def chosen(self, pick: Pick) -> Method | None:
        """The one that is best on validation; None if none is completed."""
        found = self.methods(pick)
        return best(found) or (found[0] if found else None)

    def folder_of(self, pick: Pick) -> Path:
        """Of its best run.

        Raises:
            TTLError: if none is completed.
        """
        method = self.chosen(pick)
        if method is None:
            raise TTLError(f"{self.entry.name}: no run of {pick.sweep}, {pick.strategy} completed.")
        return (self.root / pick.sweep / best_run(method).folder).resolve()

    def pictures(self) -> Iterator[tuple[str, Path]]:
        """What each analysis drew, with what it is of."""
        for analysis in self.entry.analyses:
            folder = self.folder_of(analysis.of)
            what = f"{analysis.kind} of {analysis.of.strategy.upper()}"
            where = " ".join(arg for arg in analysis.args if arg.startswith("unit="))
            for path in sorted(RunFolder(folder).analysis.glob(f"{analysis.kind}*.png")):
                yield f"{what} {where}".strip(), path

    def _asked(self, analysis: Analysis) -> list[str]:
        others = ",".join(str(self.folder_of(pick)) for pick in analysis.others)
        extra = [f"others=[{others}]"] if others else []
        return [f"run={self.folder_of(analysis.of)}", *extra, *analysis.args]

    def _call(self, arguments: Sequence[str], what: str) -> None:
        command = [sys.executable, "-m", "ttl_lightning", *arguments]
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise TTLError(
                f"{self.entry.name}: {what} ended with status {done.returncode}; the same command "
                "goes on."
            )


def _merged(arguments: Sequence[str]) -> list[str]:
    """One argument a key, where the first stands, with the last one's value."""
    found: dict[str, str] = {}
    for argument in arguments:
        found[argument.partition("=")[0].lstrip("+")] = argument
    return list(found.values())


def _block_ends(methods: Sequence[Method]) -> set[str | None]:
    """Full names of the last units of every block, of the methods' networks."""
    ends: set[str | None] = {None}
    for method in methods:
        result = method.runs[0].result
        for number in range(1, 20):
            try:
                channels = int(result.model["in_channels"])
                block = f"block{number}"
                ends.add(resolved_unit(result.backbone, channels, result.strategy, block))
            except TTLError:
                break
    return ends

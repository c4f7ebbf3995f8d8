"""Where things lie in the folders of runs and of sweeps: no other place knows a file's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT, HISTORY, PREDICTIONS, SEARCH = (
    "result.json",
    "metrics.csv",
    "predictions.csv",
    "search.json",
)
_CHECKPOINTS = Path("checkpoints")


class _At:
    """A path in the folder that has it as an attribute."""

    def __init__(self, name: str | Path) -> None:
        self.name = name

    def __get__(self, folder: Any, kind: type | None = None) -> Path:  # noqa: ANN401 - either
        place: Path = folder.path / self.name
        return place


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's.

    Attributes:
        config: its configuration, resolved.
        result: what it recorded.
        history: one row an epoch.
        log: what a supervised run prints; the process that started it writes this file.
        lock: held by the process that runs in the folder.
        holder: which one that is.
        job_lock: held by the sweep that started it.
        analysis: the results of `analyze`, by kind.
    """

    path: Path
    config = _At("config.yaml")
    result = _At(RESULT)
    history = _At(HISTORY)
    predictions = _At(PREDICTIONS)
    checkpoints = _At(_CHECKPOINTS)
    best = _At(_CHECKPOINTS / "best.ckpt")
    last = _At(_CHECKPOINTS / "last.ckpt")
    log = _At("job.log")
    lock = _At(".run.lock")
    holder = _At(".run.json")
    job_lock = _At(".lock")
    analysis = _At("analysis")

    @classmethod
    def of_checkpoint(cls, file: Path) -> RunFolder:
        """That of the run whose checkpoint a file is."""
        return cls(file.parent.parent)

    def figure(self, name: str) -> Path:
        """A picture that its task names."""
        return self.path / f"{name}.png"

    def extra(self, name: str) -> Path:
        """Another file that its task names, by its path in the folder, which is made."""
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """A sweep's.

    Attributes:
        search: what was searched, and chosen.
        precision: what `trainer.precision=auto` stands for in all of its jobs.
    """

    path: Path
    search = _At(SEARCH)
    summary = _At("summary.csv")
    markdown = _At("table.md")
    latex = _At("table.tex")
    report = _At("report.html")
    precision = _At("precision.json")

    def runs(self) -> list[RunFolder]:
        """Those of all runs below it, at any depth, that recorded something."""
        return [RunFolder(file.parent) for file in sorted(self.path.rglob(RESULT))]

    def figure(self, name: str) -> Path:
        """A picture of the report."""
        return self.path / f"{name}.png"

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
        evaluations: the results of `evaluate`, by name; each is laid out as a run's.
        exports: what `export` made of it, by format.
        page: all that is known of it, to be read.
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
    evaluations = _At("evaluations")
    exports = _At("exports")
    page = _At("run.html")

    @classmethod
    def of_checkpoint(cls, file: Path) -> RunFolder:
        """That of the run whose checkpoint a file is."""
        return cls(file.parent.parent)

    def figure(self, name: str, kind: str = "png") -> Path:
        """A picture that its task names."""
        return self.path / f"{name}.{kind}"

    def extra(self, name: str) -> Path:
        """Another file that its task names, by its path in the folder, which is made."""
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """An export's; which of the files there are is the format's concern.

    Attributes:
        card: what it takes and gives, for programs.
        page: the same for people.
        onnx: the network with or without its preprocessing.
        program: likewise, as `torch.export` saves it.
        weights: tensors under the network's own names.
        timm: what timm reads of `weights`.
        changes: each metric before and after quantisation.
        metadata: what a MONAI bundle says of itself.
        inference: how it is run.
        bundled: its network.
        scripts: its code.
    """

    path: Path
    card = _At("card.json")
    page = _At("README.md")
    onnx = _At("model.onnx")
    program = _At("model.pt2")
    weights = _At("model.safetensors")
    timm = _At("config.json")
    changes = _At("int8.json")
    metadata = _At(Path("configs") / "metadata.json")
    inference = _At(Path("configs") / "inference.json")
    bundled = _At(Path("models") / "model.pt2")
    scripts = _At(Path("scripts") / "__init__.py")


@dataclass(frozen=True, slots=True)
class PaperFolder:
    """That of a table or figure of the paper, with a folder for each of its sweeps."""

    path: Path
    page = _At("paper.html")
    table = _At("paper.csv")

    def report_of(self, sweep: str) -> Path:
        """The report of one of its sweeps."""
        return SweepFolder(self.path / sweep).report


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """A sweep's.

    Attributes:
        search: what was searched, and chosen.
        precision: what `trainer.precision=auto` stands for in all of its jobs.
        decoded: images that its jobs share, until it ends.
    """

    path: Path
    search = _At(SEARCH)
    summary = _At("summary.csv")
    markdown = _At("table.md")
    latex = _At("table.tex")

    def out_of_fold(self, name: str) -> Path:
        """The joined test predictions of a section's cross-validations."""
        return self.path / f"out_of_fold-{name}.csv"

    report = _At("report.html")
    precision = _At("precision.json")
    decoded = _At(".decoded")

    def runs(self) -> list[RunFolder]:
        """Those of all runs below it, at any depth, that recorded something."""
        return [RunFolder(file.parent) for file in sorted(self.path.rglob(RESULT))]

    def figure(self, name: str, kind: str = "png") -> Path:
        """A picture of the report."""
        return self.path / f"{name}.{kind}"

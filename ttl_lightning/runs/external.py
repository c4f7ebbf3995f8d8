"""Finished runs scored on other data than their own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ttl_lightning.config import compose as config
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import ImageView
from ttl_lightning.data.sources.external import ExternalSource
from ttl_lightning.data.sources.registry import made, source
from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.metrics import paired
from ttl_lightning.metrics.calibration import scaled
from ttl_lightning.metrics.class_predictions import scored_classes
from ttl_lightning.metrics.operating import HALF, Rule, decided_scores, threshold
from ttl_lightning.metrics.paired import compare
from ttl_lightning.metrics.predictions import PATIENT, as_csv, read_split
from ttl_lightning.records.files import json_text, write_atomically
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs import stored
from ttl_lightning.runs.evaluate import of_samples
from ttl_lightning.runs.inference import check_same, device_of, rows_of
from ttl_lightning.runs.predictor import Predictor, load
from ttl_lightning.tasks.pictures import files
from ttl_lightning.tasks.reports import Outcome, Table, TaskReport

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be scored, and how.

    Attributes:
        run: folders of finished runs.
        overrides: `data=…` and `data.KEY=…`, as a run takes them; none: the runs' own data.
        split: of those data; None: all of other data, the test split of a run's own.
        classes: what a class of the data is called in the run, where that differs.
        threshold: a rule that chooses anew on the run's validation predictions; None: the run's.
        calibrated: whether probabilities are scaled by the run's temperature.
        device: "auto", "cpu" or "cuda".
    """

    run: Sequence[str]
    overrides: Sequence[str] = ()
    split: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    threshold: str | None = None
    calibrated: bool = False
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a run, or the mean of several, is worth on data.

    Attributes:
        run: its folder; those of several.
        data: name of the source.
        split: of it, or "all".
        samples: how many were scored.
        metrics: by name; None where undefined, the reason in `notes`.
        intervals: 95 % bootstrap intervals.
        operating: thresholds by class, and the metrics at them.
        differences: from the first run, by metric: difference and 95 % interval over the samples.
        notes: what a reader must know.
    """

    run: str
    data: str
    split: str
    samples: int
    metrics: dict[str, float | None]
    intervals: dict[str, Any]
    operating: dict[str, Any]
    differences: dict[str, Any]
    notes: dict[str, str]
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation, with what its files are made of."""

    evaluation: Evaluation
    predictor: Predictor
    result: RunResult
    data: DataModule
    table: Table

    def write(self, folder: Path) -> None:
        """Write `result.json`, `predictions.csv` and the task's figures, all of them or none.

        Raises:
            ConfigError: if the folder is there already, or cannot be written.
        """
        if folder.exists():
            raise ConfigError(f"{folder} is there already: name=… or output=… names another.")
        report, there = self.predictor.task.report, RunFolder(folder)
        part = folder.with_name(f".{folder.name}.part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            own = RunFolder(part)
            write_atomically(own.result, json_text(asdict(self.evaluation)).encode())
            write_atomically(own.predictions, as_csv({"test": self.columns()}).encode())
            for name, kind, content in files(report.figures(self._outcome())):
                write_atomically(own.figure(name, kind), content)
            part.rename(there.path)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise ConfigError(f"{folder} cannot be written: {error.strerror}.") from error

    def _outcome(self) -> Outcome:
        patients = self.data.patients("test")
        drawn = {} if patients is None else {"test": of_samples(patients, self.table)}
        return Outcome(
            splits={"test": self.table},
            described=self.result.model,
            operating=self.evaluation.operating,
            calibration=self.result.calibration,
            patients=drawn,
        )

    def columns(self) -> dict[str, Sequence[str]]:
        """Of `predictions.csv`: id, the patient where one is known, and those of the task."""
        known = {"id": self.data.sample_ids("test"), PATIENT: self.data.patients("test")}
        named = {k: of_samples(names, self.table) for k, names in known.items() if names}
        return {**named, **self.predictor.task.report.columns(self.table, self.result.model)}


def evaluate_on(request: Request) -> list[Scored]:
    """Score each run; of several also their mean, and differences from the first run.

    Raises:
        TTLError: if runs, data or options cannot be used.
    """
    opened = [(Path(run), load(run)) for run in request.run]
    if not opened:
        raise ConfigError("which run? Give run=FOLDER.")
    check_same([predictor.task for _, predictor in opened])
    found, point = [], _operating(opened, request.threshold)
    for folder, predictor in opened:
        result = RunResult.load(folder)
        data = data_for(folder, predictor, request)
        predictor.to(device_of(request.device))
        table = predictor.task.table(rows_of(predictor.task, data.test_dataloader()))
        if request.calibrated:
            table = _calibrated(table, predictor, result)
        own = _operating([(folder, predictor)], request.threshold)
        found.append(_scored(str(folder), predictor, result, data, table, own))
    if len(found) > 1:
        first = found[0]
        mean = first.predictor.task.averaged([each.table for each in found])
        runs = ", ".join(request.run)
        found.append(_scored(runs, first.predictor, first.result, first.data, mean, point))
        found = [first, *(_compared(each, first) for each in found[1:])]
    return found


def data_for(folder: Path, predictor: Predictor, request: Request) -> DataModule:
    """The data, as the run sees its own, set up.

    Raises:
        TTLError: if they cannot be read, or do not fit the run.
    """
    seen = predictor.preprocessing
    if seen.view is None or seen.augment is None:
        raise DataError(seen.reason)
    if request.overrides:
        spec = config.typed(config.read(request.overrides)[0])
        options, split = spec.data.options, request.split
        own = {f.name for f in fields(seen.view)}
        for key in (override.partition("=")[0] for override in request.overrides):
            if key.removeprefix("data.") in own:
                raise ConfigError(f"{key} is the run's own: it was trained with it.")
    else:
        options, split = stored.rebuildable(folder).data.options, request.split or "test"
    kind = source(options["_target_"])
    if kind is None:
        raise ConfigError(f"data._target_={options['_target_']} is not this package's.")
    if issubclass(kind.view, ImageView) != isinstance(seen.view, ImageView):
        raise ConfigError(
            f"the run sees {seen.view.counted}, and data={options['name']} has {kind.view.counted}."
        )
    view_keys = {f.name for f in fields(kind.view)}
    given = {k: v for k, v in options.items() if k != "_target_" and k not in view_keys}
    if stored.rebuildable(folder).data.options.get("numbers"):
        given["numbers"] = True
    inner = made(kind, given, stored.rebuildable(folder).seed)
    task = predictor.task
    names = tuple(getattr(task, "class_names", ()))
    if seen.view.masks:
        regions = tuple(task.regions)  # type: ignore[arg-type]  # as tasks of masks have
        names = regions if task.overlap else ("background", *regions)
    external = ExternalSource(
        inner=inner.source,
        name=inner.source.name,
        split=split,
        names=names,
        renamed=dict(request.classes),
        masks=seen.view.masks,
    )
    statistics: dict[str, Any] = {"mean": seen.mean, "std": seen.std}
    data = DataModule(external, seen.view, inner.loading, augment=seen.augment, **statistics)
    data.prepare_data()
    data.setup("test")
    return data


def _calibrated(table: Table, predictor: Predictor, result: RunResult) -> Table:
    temperature = result.calibration.get("temperature")
    if temperature is None:
        raise ConfigError(f"calibrated=true: {result.name} has no temperature in its result.")
    task: Any = predictor.task
    kept = {f.name: getattr(table, f.name) for f in fields(table)}
    kept["probabilities"] = scaled(table.probabilities, float(temperature), task.task)
    return type(table)(**kept)


def _scored(
    run: str,
    predictor: Predictor,
    result: RunResult,
    data: DataModule,
    table: Table,
    operating: Mapping[str, Any],
) -> Scored:
    task, source_ = predictor.task, data.source
    scores = task.score(table)
    patients = data.patients("test")
    drawn = None if patients is None else of_samples(patients, table)
    intervals = task.report.intervals(table, result.model, drawn)
    split = getattr(source_, "split", None) or "all"
    notes = scores.notes | ({"data": " ".join(data.notes)} if data.notes else {})
    at_point = _at_point(table, task, operating)
    count, values = len(table.ids), scores.values
    evaluation = Evaluation(
        run, source_.name, split, count, values, dict(intervals), at_point, {}, notes
    )
    return Scored(evaluation, predictor, result, data, table)


def _operating(runs: Sequence[tuple[Path, Predictor]], rule: str | None) -> dict[str, Any]:
    """The runs' operating point, of several the mean of their thresholds; or that of a rule.

    Raises:
        ConfigError: if a rule is given where none can choose.
    """
    points = []
    for folder, predictor in runs:
        task: Any = predictor.task
        if rule is None:
            points.append(RunResult.load(folder).operating)
        elif getattr(task, "task", "multiclass") == "multiclass":
            raise ConfigError(f"threshold={rule} is for binary and multilabel classification.")
        else:
            points.append({"rule": rule, "thresholds": _chosen(Rule.of(rule), folder, task)})
    if not all(points):
        return {}
    names = points[0]["thresholds"]
    at = {name: float(np.mean([point["thresholds"][name] for point in points])) for name in names}
    return {"rule": points[0]["rule"], "thresholds": at}


def _chosen(rule: Rule, folder: Path, task: Any) -> dict[str, float]:  # noqa: ANN401 - a classifier
    """Thresholds by class, chosen by the validation predictions in a run's folder."""
    found = scored_classes(read_split(folder, "val"), task.task)
    names = task.class_names[1:] if task.task == "binary" else task.class_names
    at = {}
    for name, scores, targets in zip(names, found.scores.T, found.targets.T, strict=True):
        known = ~np.isnan(targets)
        chosen = threshold(rule, scores[known], targets[known] == 1)
        at[name] = HALF if chosen is None else chosen
    return at


def _at_point(table: Table, task: Any, operating: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    if not operating:
        return {}
    at = operating["thresholds"]
    scored = decided_scores(table.probabilities, table.labels, at, task.task, task.class_names)
    return {**operating, "test": scored}


def _compared(ours: Scored, first: Scored) -> Scored:
    """With the differences from the first run, by images or patients alone: it is one training."""
    report, found = first.predictor.task.report, {}
    tables = [_read(each, report) for each in (ours, first)]
    for metric in report.metrics:
        test = metric.paired
        if test is None:
            continue
        try:
            one = compare(test.kernel, {0: tables[0]}, {0: tables[1]}, test.widest)
            found[metric.name] = {"difference": one.difference, "interval": list(one.interval)}
        except DataError as error:
            found[metric.name] = {"difference": None, "reason": str(error)}
    return replace(ours, evaluation=replace(ours.evaluation, differences=found))


def _read(scored: Scored, report: TaskReport) -> paired.Scored:
    columns = scored.columns()
    found = report.read(columns, scored.result.model)
    patients = columns.get(PATIENT)
    return found if patients is None else replace(found, patients=tuple(patients))

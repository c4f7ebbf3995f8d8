"""What a task declares of its results, for all that reads them; imports no torch, no Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from ttl_lightning.errors import ConfigError, DataError, check_choice
from ttl_lightning.metrics.paired import Kernel, Scored
from ttl_lightning.metrics.predictions import Columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Direction = Literal["max", "min"]
Described = Mapping[str, Any]
"""What a run's result says of its model: `RunResult.model`."""
Table = Any
"""A split's predictions, as the task makes them: has `ids`, positions in the split, (n,)."""

SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class PairedTest:
    """How a difference of two methods is tested, by `metrics.paired.compare`.

    Attributes:
        kernel: test predictions to the metric, and each sample's part in its error.
        by: how the parts are found, for people.
        margin: a loss that is small enough to be outweighed by a smaller model.
        widest: what no difference is beyond.
    """

    kernel: Kernel
    by: str
    margin: float
    widest: float = float("inf")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a split.

    Attributes:
        name: its key, `val/name` and `test/name` in results.
        label: for people.
        direction: which way is better.
        chooses: whether models may be chosen by it.
        no_interval: why it has no interval, where it can have none.
        paired: the test of differences, if there is one.
    """

    name: str
    label: str
    direction: Direction = "max"
    chooses: bool = True
    no_interval: str = ""
    paired: PairedTest | None = None

    @property
    def sign(self) -> float:
        """1, or -1 where less is better: times it, more is better."""
        return 1.0 if self.direction == "max" else -1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A sign in test predictions that a training has learnt nothing.

    Attributes:
        text: what is wrong, as of a training: `predicts one class alone`.
        rule: when it is said, as the end of `A training has not learnt if`.
        found: whether it is in the predictions.
    """

    text: str
    rule: str
    found: Callable[[Scored, Described], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What figures are drawn of.

    Attributes:
        splits: predictions by split.
        described: the model.
        operating: the result's operating point.
        calibration: the result's.
        patients: whom each sample of a split shows, by split, where that is known.
    """

    splits: Mapping[str, Table]
    described: Described
    operating: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    patients: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _nothing(*_: object) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """A task's metrics, and what becomes of its predictions.

    Attributes:
        name: tells the task from others, in results.
        metrics: all plain ones, in the order of tables; `loss`, better when lower, is one of all.
        primary: the name of the one that choices are made by, unless another is given.
        reported: names of those in a sweep's tables.
        shown: names of those in a run's table; by default all.
        drawn: names of those drawn over the epochs; by default all.
        columns: predictions to their columns of text in `predictions.csv`, beside id and split.
        read: such columns of the test split, with `id`, to what the paired tests take.
        intervals: test predictions, and whom each sample shows where that is known, to intervals
            by metric, None where one is undefined.
        pictures: what a run's further pictures show, by their files; a sweep's page has those of
            each strategy's best run.
        figures: what a run came to, to its figures, by the names of their files.
        answers: predictions of samples of which nothing is known to columns of text, with the
            result's `operating` point; by default a task has none.
        rising: a gain of the primary metric in the last fifth of the epochs that tells that
            training was cut off; None: that is not told.
        faults: signs of trainings that have not learnt.
    """

    name: str
    metrics: tuple[Metric, ...]
    primary: str
    reported: tuple[str, ...]
    columns: Callable[[Table, Described], Columns]
    read: Callable[[Columns, Described], Scored]
    shown: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    intervals: Callable[
        [Table, Described, Sequence[str] | None], Mapping[str, tuple[float, float] | None]
    ] = _nothing
    figures: Callable[[Outcome], Mapping[str, Figure]] = _nothing
    answers: Callable[[Table, Described, Mapping[str, Any]], Columns] = _nothing
    pictures: Mapping[str, str] = field(default_factory=dict)
    rising: float | None = None
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(metric.name for metric in self.metrics)
        if len(set(names)) < len(names) or "loss" in names:
            raise ConfigError(f"task {self.name}: each metric once, and no loss; got {names}.")
        for given in (self.primary, *self.reported, *self.shown, *self.drawn):
            check_choice(f"metric of task {self.name}", given, names)
        object.__setattr__(self, "shown", self.shown or names)
        object.__setattr__(self, "drawn", self.drawn or names)

    @property
    def first(self) -> Metric:
        """The primary metric."""
        return self.metric(self.primary)

    @property
    def criterion(self) -> str:
        """The primary metric of the validation split, which models are chosen by."""
        return f"val/{self.primary}"

    @property
    def table(self) -> tuple[Metric, ...]:
        """The metrics that are reported."""
        return tuple(map(self.metric, self.reported))

    def metric(self, name: str) -> Metric:
        """The metric of a name or a key; that of one class, `val/recall/edema`, is its metric.

        Raises:
            UnknownNameError: if there is none.
        """
        base = name.removeprefix("val/").removeprefix("test/").partition("/")[0]
        known = {metric.name: metric for metric in self.metrics}
        check_choice("metric", base, known)
        return known[base]

    def label(self, key: str) -> str:
        """`validation AUROC` of `val/auroc`; what is no metric keeps its name."""
        split, _, name = key.partition("/")
        base, _, of_class = name.partition("/")
        labels = {metric.name: metric.label for metric in self.metrics}
        words = (SPLITS.get(split, split), labels.get(base, base), of_class)
        return " ".join(filter(None, words))

    def choosing(self, key: str | None) -> tuple[str, Metric]:
        """The validation metric that is given to choose models by, or the primary one.

        Raises:
            UnknownNameError: for any other; nothing ever selects on test.
        """
        allowed = [f"val/{metric.name}" for metric in self.metrics if metric.chooses]
        found = self.criterion if key is None else key
        check_choice("hydra.sweeper.metric", found, allowed)
        return found, self.metric(found)

    def check_monitor(self, monitor: str, mode: str) -> None:
        """Demand a metric of the validation split, and the direction in which it gets better.

        A metric of one class, `val/recall/edema`, is one too; which there are, the data say.

        Raises:
            ConfigError: naming the key.
        """
        split, _, name = monitor.partition("/")
        better = {"loss": "min", **{metric.name: metric.direction for metric in self.metrics}}
        base = name.partition("/")[0]
        check_choice("protocol.monitor", f"{split}/{base}", [f"val/{key}" for key in better])
        if mode != better[base]:
            raise ConfigError(
                f"protocol.monitor_mode={mode} chooses the worst epoch by {monitor}: give "
                f"{better[base]}."
            )

    def declared(self) -> dict[str, Any]:
        """What a result keeps of it, for where the task's own package is not at hand."""
        kept = ("name", "label", "direction")
        metrics = [{key: getattr(metric, key) for key in kept} for metric in self.metrics]
        return {
            "name": self.name,
            "primary": self.primary,
            "reported": list(self.reported),
            "metrics": metrics,
        }

    @classmethod
    def of_declared(cls, declared: Mapping[str, Any]) -> Self:
        """The report of a task that is not known here: metrics, and no test of differences.

        Raises:
            DataError: if it is not as `declared` makes it.
        """
        try:
            metrics = tuple(
                Metric(
                    _text(m["name"]), _text(m["label"]), "min" if m["direction"] == "min" else "max"
                )
                for m in declared["metrics"]
            )
            name = _text(declared["name"])
            return cls(
                name=name,
                metrics=metrics,
                primary=_text(declared["primary"]),
                reported=tuple(map(_text, declared["reported"])),
                columns=_nothing,
                read=lambda *_: _unknown(name),
            )
        except (ConfigError, KeyError, TypeError) as error:
            raise DataError(f"model.report does not describe a task: {error}.") from error


def _unknown(name: str) -> Scored:
    raise DataError(
        f"its predictions are those of the task {name!r}, which is not known here: import the "
        "package that has it before."
    )


def _text(value: object) -> str:
    """As it is printed: a file may hold what a terminal would obey."""
    return "".join(sign for sign in str(value) if sign.isprintable())

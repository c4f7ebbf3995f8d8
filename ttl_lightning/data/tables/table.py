"""Tables of samples: files of text with a header, and what their columns say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ttl_lightning.data.readers.volume import about
from ttl_lightning.data.samples import (
    Labels,
    Samples,
    check_classes,
    listed,
    positive_note,
)
from ttl_lightning.data.splits import check_fractions, complete_splits
from ttl_lightning.data.tables.labels import (
    SEVERAL,
    UNCERTAIN,
    as_written_once,
    encode_classes,
    encode_several,
    fold,
    is_missing,
    number_of,
    unified,
    yes_or_no,
)
from ttl_lightning.data.tables.text import PATIENT_COLUMN, Table
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError, check_choice

INSTEAD = {"zeros": 0.0, "ones": 1.0, "ignore": float("nan")}
"""What a label that is not known is taken for; NaN counts in no loss and no metric."""
ON_MISSING = ("error", "drop", "zeros", "ignore")
ON_UNCERTAIN = ("error", "drop", "ones", "zeros", "ignore")


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What a table's columns mean: options of every source that reads one.

    Attributes:
        label_columns: one of class names or numbers, or several of 0 and 1.
        split_column: with train, val or test; None: "split" where there is such a column.
        patient_column: whom a row shows; None: "patient_id" where there is such a column.
        classes: for one label column, the classes in the order of their numbers; None: sorted.
        val_fraction: of the rows, or of the training rows where only some splits are given.
        test_fraction: likewise.
        missing: what a label is that is empty or says that it is not known: an "error", or "drop"
            leaves its row out; in several columns also "zeros", or "ignore" leaves the label out.
        uncertain: what -1 is: likewise, or "ones".
    """

    label_columns: Sequence[str] | str = ("label",)
    split_column: str | None = None
    patient_column: str | None = None
    classes: Sequence[str] | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    missing: str = "error"
    uncertain: str = "error"
    numbers: bool = False

    @property
    def labelled_by(self) -> tuple[str, ...]:
        """`label_columns`, of which one may be given by its name alone."""
        given = self.label_columns
        return (given,) if isinstance(given, str) else tuple(given)

    @property
    def fractions(self) -> dict[str, float]:
        """Of the splits that may have to be drawn."""
        return {"val": self.val_fraction, "test": self.test_fraction}

    def check(self, header: Sequence[str], others: Mapping[str, str | None], path: Path) -> None:
        """Demand that every column that is named exists, and options that are in range.

        Args:
            header: the names that there are.
            others: further columns by their key below `data`; None where none is named.
            path: of the table, for errors.

        Raises:
            UnknownNameError: naming key and column.
            ConfigError: naming the option that is out of range.
        """
        check_fractions(self.fractions)
        check_choice("data.missing", self.missing, ON_MISSING)
        check_choice("data.uncertain", self.uncertain, ON_UNCERTAIN)
        self._check_numbers()
        for key, action in (("missing", self.missing), ("uncertain", self.uncertain)):
            if len(self.labelled_by) == 1 and action in INSTEAD:
                raise ConfigError(
                    f"data.{key}={action} is for several label columns; with one, allowed: error, "
                    "drop" + (", or -1 among data.classes." if key == "uncertain" else ".")
                )
        there = {fold(name) for name in header}
        for key, name in (
            *others.items(),
            *(("label_columns", column) for column in self.labelled_by),
            ("split_column", self.split_column),
            ("patient_column", self.patient_column),
        ):
            if name is not None and fold(str(name)) not in there:
                raise UnknownNameError(
                    f"column for data.{key}", name, header, f"They are those of {path}."
                )

    def usable(self, table: Table) -> Table:
        """The rows whose labels are known, with notes about what was left out.

        Raises:
            DataError: naming the rows whose labels are not known, unless they are to be dropped.
        """
        keep, notes = np.ones(len(table), np.bool_), []
        own = {as_written_once(str(name)) for name in self.classes or ()}
        for what, action, unknown in (
            ("no label", self.missing, is_missing),
            ("the uncertain label -1", self.uncertain, self._uncertain(own)),
        ):
            found = {
                column: [row for row, text in enumerate(table.columns[column]) if unknown(text)]
                for column in self.labelled_by
            }
            rows = sorted({row for at in found.values() for row in at})
            if not rows or action in INSTEAD:
                continue
            if action == "error":
                column = next(column for column, at in found.items() if at)
                key = "missing" if unknown is is_missing else "uncertain"
                raise DataError(
                    f"{table.path}, column {column!r}: {what} in {len(rows)} of {len(table)} rows "
                    f"(row {listed([str(table.numbers[row]) for row in found[column]])}). "
                    f"{self._ways_out(key)}"
                )
            keep[rows] = False
            notes.append(f"{len(rows)} of {len(table)} rows were left out: they have {what}.")
        if len(self.labelled_by) > 1:
            columns = [table.columns[column] for column in self.labelled_by]
            empty = np.isnan([[self._value(text) or 0 for text in texts] for texts in columns]).all(
                0
            )
            if (empty & keep).any():
                number = int((empty & keep).sum())
                notes.append(f"{number} of {len(table)} rows were left out: no label is known.")
                keep &= ~empty
        return replace(table.take(np.flatnonzero(keep)), notes=(*notes, *table.notes))

    def samples(self, table: Table, ids: Sequence[str], seed: int) -> Samples:
        """What the table says of its rows, with notes about it, and without a reader.

        Args:
            table: of usable rows, with the columns that `check` has found.
            ids: names of the rows.
            seed: of the splits that are drawn.

        Raises:
            DataError: naming the row and column that is not as it should be.
        """
        with about(table.path):
            labels, names, notes = self._measured(table) if self.numbers else self._labels(table)
        patients = table.optional(self.patient_column, PATIENT_COLUMN)
        # two spellings of one patient must not end up in two splits
        same = None if patients is None else tuple(unified(patients)[0])
        splits, drawn = complete_splits(
            table.splits(self.split_column), labels, same, self.fractions, seed
        )
        if same is None:
            notes.append(
                f"{table.path} has no {PATIENT_COLUMN!r} column: one patient's images may be in "
                "two splits. data.patient_column names the column that says whom an image shows."
            )
        chosen = labels.ndim == 2 or self.classes is not None
        return Samples(
            ids=tuple(ids),
            labels=labels,
            splits=splits,
            class_names=names,
            patients=same,
            measured=self.numbers,
            notes=(*table.notes, *notes, *drawn, *positive_note(names, chosen=chosen)),
        )

    def _labels(self, table: Table) -> tuple[Labels, tuple[str, ...], list[str]]:
        if len(self.labelled_by) > 1:
            return self._of_columns(table)
        column = self.labelled_by[0]
        texts = table.filled(column)
        if self.classes is None and any(SEVERAL in text for text in texts):
            several, names = encode_several(texts)
            check_classes(names)
            return several, names, [
                f"Column {column!r} holds several labels a row, apart by {SEVERAL!r}: "
                f"{len(names)} labels, any number of which may hold."
            ]  # fmt: skip
        labels, names = encode_classes(texts, self.classes)
        merged = unified(texts)[1]
        notes = [
            f"Labels {listed(others)} in column {column!r} are taken for {name!r}."
            for name, others in merged.items()
        ]
        return labels, names, notes

    def _of_columns(self, table: Table) -> tuple[Labels, tuple[str, ...], list[str]]:
        columns = self.labelled_by
        check_classes(columns)
        values = np.array([self._numbers(table, column) for column in columns], np.float32).T
        notes = []
        for what, action, unknown in (
            ("Missing", self.missing, is_missing),
            ("Uncertain", self.uncertain, self._uncertain(set())),
        ):
            number = {c: sum(map(unknown, table.columns[c])) for c in columns}
            counts = ", ".join(f"{column} {count}" for column, count in number.items() if count)
            if counts:
                done = (
                    "are left out of loss and metrics"
                    if action == "ignore"
                    else (f"are taken for {action}")
                )
                notes.append(f"{what} labels {done}: {counts}.")
        if len(columns) > 2 and bool((values.sum(1) == 1).all()):
            notes.append(
                f"Each row has exactly one of the {len(columns)} labels, so they are taken for the "
                "classes of one label, of which one holds."
            )
            return values.argmax(1).astype(np.int64), columns, notes
        return np.ascontiguousarray(values), columns, notes

    def _check_numbers(self) -> None:
        """Demand options that numbers can have.

        Raises:
            ConfigError: naming the key.
        """
        if not self.numbers:
            return
        if self.missing == "zeros":
            raise ConfigError("data.missing=zeros is for labels of 0 and 1, and these are numbers.")
        if self.classes is not None:
            raise ConfigError("data.classes is for classes, and task=regression predicts numbers.")

    def _measured(self, table: Table) -> tuple[Labels, tuple[str, ...], list[str]]:
        columns = self.labelled_by
        values = np.array([self._numbers(table, column) for column in columns], np.float32).T
        unknown = np.isnan(values).sum(0)
        counts = ", ".join(f"{c} {n}" for c, n in zip(columns, unknown, strict=True) if n)
        notes = [f"Missing values are left out of loss and metrics: {counts}."] if counts else []
        return np.ascontiguousarray(values), columns, notes

    def _uncertain(self, classes: set[str]) -> Callable[[str], bool]:
        """Whether a field says that its label is uncertain, which no number does."""
        return lambda text: not self.numbers and _is_uncertain(text, classes)

    def _numbers(self, table: Table, column: str) -> list[float]:
        numbers = []
        for row, text in enumerate(table.columns[column]):
            number = self._value(text)
            if number is None:
                wanted = "a number" if self.numbers else "0 or 1, true or false"
                raise table.error(row, column, wanted)
            numbers.append(number)
        return numbers

    def _value(self, text: str) -> float | None:
        """1, 0 or a number, NaN where it shall not count; None of a field that says none."""
        if is_missing(text):
            return INSTEAD.get(self.missing)
        if self.numbers:
            return number_of(text)
        return INSTEAD.get(self.uncertain) if _is_uncertain(text, set()) else yes_or_no(text)

    def _ways_out(self, key: str) -> str:
        if len(self.labelled_by) > 1:
            taken = "zeros or ones says" if key == "uncertain" else "zeros says"
            return (
                f"data.{key}={taken} what it is, ignore leaves such labels out of loss and "
                "metrics, drop such rows."
            )
        if key == "missing":
            return "data.missing=drop leaves such rows out."
        return "data.uncertain=drop leaves such rows out; as a class it is listed in data.classes."


def _is_uncertain(text: str, classes: set[str]) -> bool:
    return as_written_once(text) == UNCERTAIN and UNCERTAIN not in classes

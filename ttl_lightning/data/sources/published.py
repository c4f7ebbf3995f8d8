"""Data sets as they are published: their own tables become ours, and it is said what is missing."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ttl_lightning.data.content import listing_hash
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.readers.pillow import MOST_PIXELS
from ttl_lightning.data.samples import Integers, Samples, listed
from ttl_lightning.data.sources.base import Source, existing_path
from ttl_lightning.data.splits import check_fractions
from ttl_lightning.data.tables.table import TableOptions
from ttl_lightning.data.tables.text import PATIENT_COLUMN, SPLIT_COLUMN, Columns, Table
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError

ID, LABEL = "id", "label"
Abnormal = Callable[[int, int], Integers]


@dataclass(frozen=True)
class Published:
    """A data set's own files as our table.

    Attributes:
        table: `id`, the labels, `patient_id`, and `split` where the data set has one.
        files: of the rows.
        labels: columns of the table; one of class names, or several of 0, 1 and, not known, "".
        classes: of one label column, in the order of their numbers; None of several.
        counts: of the whole data set, samples by class, or those with the label.
        notes: what was left out, and why.
    """

    table: Table
    files: Sequence[Path]
    labels: tuple[str, ...]
    classes: tuple[str, ...] | None
    counts: Mapping[str, int]
    notes: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True)
class PublishedSource(Source):
    """A data set below a folder, in the layout in which it is published.

    Attributes:
        path: the folder.
        val_fraction: of the samples (patients are whole), where there is no such split.
        test_fraction: likewise.
        partial: take what is there of a data set of which files are missing.
        max_pixels: of a picture; a larger one is refused before it is decoded.

    Raises:
        ConfigError: if no path is given, or an option is out of range.
        DataError: if there is no such folder.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    path: str | Path | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    partial: bool = False
    max_pixels: int = MOST_PIXELS

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        check_fractions({"val": self.val_fraction, "test": self.test_fraction})
        if not isinstance(self.partial, bool):
            raise ConfigError(f"data.partial must be true or false, got {self.partial!r}.")
        if not existing_path(self.path).is_dir():
            raise DataError(f"data.path must be a folder, {self.path} is a file.")

    @abstractmethod
    def published(self, root: Path) -> Published:
        """Read the data set's own tables.

        Raises:
            DataError: saying which file or column is not there, and what was expected.
        """

    def reader(self, found: Published) -> Reader:
        """Of the files."""
        return FileImages(list(found.files), None, self.max_pixels)

    def abnormal(self, found: Published) -> Abnormal | None:
        """Of studies, which slices show what is looked for, as `Samples.abnormal` says it."""
        del found
        return None

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of what the tables say of each sample, and of the files' sizes."""
        known = {f.name for f in fields(cls)}
        source = cls(**{k: v for k, v in options.items() if k in known and k != "seed"})
        found = source.published(existing_path(source.path))
        names = [name for name in found.table.columns if name != "path"]
        rows = zip(*(found.table.columns[name] for name in names), strict=True)
        files = (
            ("\t".join(row) + f"\t{part.name if part != path else ''}", part)
            for row, path in zip(rows, found.files, strict=True)
            for part in (path.iterdir() if path.is_dir() else [path])
        )
        return {"listing": listing_hash(files)}

    def load(self, side: int) -> Samples:
        """Read the tables, and look whether the files are there.

        Raises:
            DataError: if tables or files are missing, or a table is of another release.
        """
        del side
        root = existing_path(self.path)
        found = self._there(self.published(root), root)
        options = TableOptions(
            label_columns=found.labels,
            classes=found.classes,
            missing="error" if len(found.labels) == 1 else "ignore",
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
        )
        samples = options.samples(found.table, found.table.columns[ID], self.seed)
        notes = (*found.notes, self._complete(found), *samples.notes)
        reader, abnormal = self.reader(found), self.abnormal(found)
        return replace(samples, reader=reader, notes=notes, abnormal=abnormal)

    def _there(self, found: Published, root: Path) -> Published:
        """The samples whose files are there; all of them, unless a part will do."""
        missing = [n for n, path in enumerate(found.files) if not path.exists()]
        if not missing:
            return found
        names = listed([found.table.columns[ID][row] for row in missing])
        total = len(found.files)
        if not self.partial or len(missing) == total:
            raise DataError(
                f"{len(missing)} of the {total} samples that {found.table.path} lists have no file "
                f"below {root}: {names}. data.partial=true takes those that are there."
            )
        kept = np.setdiff1d(np.arange(total), missing)
        note = f"{len(missing)} of {total} samples were left out, which have no file: {names}."
        return replace(
            found,
            table=found.table.take(kept),
            files=[found.files[row] for row in kept],
            notes=(*found.notes, note),
        )

    def _complete(self, found: Published) -> str:
        """How many samples there are beside how many are published, by class."""
        there = counted(found)
        if not found.counts:
            return f"{len(found.files)} samples."
        if there == dict(found.counts):
            return f"data={self.name} is complete: {_counts(there)}."
        pairs = (f"{name} {there.get(name, 0)} of {all_}" for name, all_ in found.counts.items())
        return f"Not all that is published of data={self.name} is used: {', '.join(pairs)}."


def counted(found: Published) -> dict[str, int]:
    """Samples by class, or those with the label."""
    if found.classes is not None:
        counts = Counter(found.table.columns[found.labels[0]])
        return {name: counts[name] for name in found.classes}
    return {name: found.table.columns[name].count("1") for name in found.labels}


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def made_table(
    source: Table,
    rows: Sequence[int],
    columns: Mapping[str, Sequence[str]],
) -> Table:
    """Our table of some rows of a data set's own, with its row numbers.

    Args:
        source: the data set's own table.
        rows: places in it.
        columns: of the result.
    """
    return Table(
        source.path,
        Columns({name: list(values) for name, values in columns.items()}),
        [source.numbers[row] for row in rows],
        source.notes,
    )


def table_in(root: Path, names: Sequence[str], layout: str) -> Path:
    """The one file of these names at or below a folder.

    Raises:
        DataError: if there is none, with the layout that is expected, or more than one.
    """
    for name in names:
        direct = root / name
        if direct.is_file():
            return direct
        found = sorted(path for path in root.rglob(name) if path.is_file())
        if len(found) > 1:
            raise DataError(f"there is more than one {name} below {root}: {found[0]}, {found[1]}.")
        if found:
            return found[0]
    raise DataError(f"data.path: no {' or '.join(names)} below {root}; expected: {layout}.")


def demand(table: Table, columns: Iterable[str]) -> None:
    """Demand columns of a data set's own table.

    Raises:
        UnknownNameError: naming the first that is missing, and that it may be another release.
    """
    for name in columns:
        if name not in table.columns:
            raise UnknownNameError(
                "column", name, list(table.columns), f"{table.path} may be another release's."
            )


def by_stem(root: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Every file of these kinds below a folder, by its name without suffix.

    Raises:
        DataError: if two have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(f"{path.stem} is both {found[path.stem]} and {path}.")
            found[path.stem] = path
    return found


__all__ = [
    "ID",
    "LABEL",
    "PATIENT_COLUMN",
    "SPLIT_COLUMN",
    "Abnormal",
    "Published",
    "PublishedSource",
    "by_stem",
    "counted",
    "demand",
    "made_table",
    "table_in",
]

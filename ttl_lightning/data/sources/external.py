"""Samples that a run was not trained on, as one test split with the run's own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.samples import Integers, Labels, Samples, listed
from ttl_lightning.data.sources.base import Source
from ttl_lightning.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ExternalSource(Source):
    """Another source, whose classes are found by their names among those of a run.

    Attributes:
        inner: the source.
        split: of its samples that are taken; None takes all of them.
        names: of the run's classes, or of its masks' regions with the background.
        renamed: what a class of the source is called in the run, where that differs.
        masks: whether `names` are of masks.

    Raises:
        DataError: from `load`, naming the classes that the run does not know.
    """

    used_splits: ClassVar[tuple[str, ...]] = ("test",)

    inner: Source
    names: tuple[str, ...]
    split: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    masks: bool = False

    def prepare(self) -> None:
        """Get what is not there yet."""
        self.inner.prepare()

    def load(self, side: int) -> Samples:
        """The source's samples, all of them for testing.

        Raises:
            DataError: if a class or region is not the run's.
        """
        samples = self.inner.split_samples(side)
        total = len(samples.ids)
        taken = np.arange(len(samples.ids)) if self.split is None else samples.rows(self.split)
        if not len(taken):
            raise DataError(f"data={self.inner.name} has no samples of split={self.split}.")
        notes: tuple[str, ...] = (f"{len(taken)} of {total} samples are tested.",)
        samples = _only(samples, taken)
        if self.masks:
            theirs = self._known(samples.regions)
            if theirs != self.names:
                raise DataError(
                    f"the run's masks have the regions {listed(self.names)}, in this order, and "
                    f"these have {listed(theirs)}: data.regions sets them."
                )
        else:
            theirs = self._known(samples.class_names)
            labels = _matched(samples.labels, theirs, self.names)
            samples = replace(samples, labels=labels, class_names=self.names)
            if absent := [name for name in self.names if name not in theirs]:
                notes += (f"data={self.inner.name} has no class {listed(absent)} of the run's.",)
        return replace(samples, notes=(*samples.notes, *notes))

    def _known(self, found: Sequence[str]) -> tuple[str, ...]:
        """The source's classes as the run calls them.

        Raises:
            DataError: naming those that the run does not have.
        """
        if strange := [name for name in self.renamed if name not in found]:
            raise DataError(f"classes: data={self.inner.name} has no {listed(strange)}.")
        names = tuple(self.renamed.get(name, name) for name in found)
        extra = [name for name in names if name not in self.names]
        if extra:
            raise DataError(
                f"data={self.inner.name} has the classes {listed(found)}, and the run knows "
                f"{listed(self.names)}: what is {listed(extra)}? classes.THEIRS=OURS says which "
                "is which."
            )
        if len(set(names)) < len(names):
            raise DataError(f"classes: two of {listed(found)} would be one class of the run's.")
        return names


class TakenRows:
    """Some rows of a reader."""

    def __init__(self, reader: Reader, rows: Integers) -> None:
        self._reader, self._rows = reader, rows

    @property
    def decoders(self) -> int:
        """As of the reader."""
        return self._reader.decoders

    def __len__(self) -> int:
        """Number of these rows."""
        return len(self._rows)

    def read(self, row: int) -> Reading:
        """Decode one."""
        return self._reader.read(int(self._rows[row]))

    def fingerprint(self, row: int) -> str:
        """As of the reader."""
        return self._reader.fingerprint(int(self._rows[row]))


def _only(samples: Samples, rows: Integers) -> Samples:
    """These samples, for testing, and readers of no others."""
    reader, masks, abnormal = samples.reader, samples.masks, samples.abnormal
    return replace(
        samples.take(rows),
        splits=np.full(len(rows), "test"),
        reader=reader and TakenRows(reader, rows),
        masks=masks and TakenRows(masks, rows),
        abnormal=abnormal and (lambda row, count: abnormal(int(rows[row]), count)),
    )


def _matched(labels: Labels, theirs: Sequence[str], ours: Sequence[str]) -> Labels:
    """Labels in the order of our classes; of several, a column that they lack is not labelled."""
    places = [ours.index(name) for name in theirs]
    if labels.ndim == 1:
        return np.array(places, np.int64)[labels]
    found = np.full((len(labels), len(ours)), np.nan, np.float32)
    found[:, places] = labels
    return found

"""Finished runs on images and studies of which nothing is known, as evaluation sees its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import DataLoader

from ttl_lightning.data.inputs import BlankMasks
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.masks import mask_files
from ttl_lightning.data.readers.reading import LeftOut
from ttl_lightning.data.sampler import EpochSampler
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.store import Store
from ttl_lightning.data.views.dataset import as_it_is, as_views
from ttl_lightning.data.views.evaluation import SeveralViews
from ttl_lightning.data.views.images import Images
from ttl_lightning.data.views.studies import Studies
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import DataError
from ttl_lightning.metrics.predictions import Columns
from ttl_lightning.runs.inference import rows_of
from ttl_lightning.tasks.reports import Table
from ttl_lightning.tasks.segmentation import SegmentationTask

if TYPE_CHECKING:
    from ttl_lightning.runs.predictor import Predictor

# Values of a batch's input: 2^22 floats are 16 MB, and a network's maps are some 50 times that.
BATCH_VALUES, MOST_AT_ONCE = 2**22, 64
NOWHERE = Path()


@dataclass(frozen=True, slots=True)
class Answer:
    """What runs say of some images or studies.

    Attributes:
        ids: of those that could be read, in the order that they were given in.
        columns: of text, one value an id.
        table: the task's own predictions, None where there are masks or nothing.
        bad: why it could not be read, by id, of each of the others.
        files: masks, by name.
        left_out: what of each file is not in what was seen of it, one an id.
    """

    ids: tuple[str, ...]
    columns: Columns
    table: Table | None
    bad: dict[str, str]
    files: list[tuple[str, bytes]]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def probabilities(self) -> Any:  # noqa: ANN401 - an array, (n, classes) float64
        """Of classes, (n, classes).

        Raises:
            DataError: if the task has none.
        """
        found = getattr(self.table, "probabilities", None)
        if found is None:
            raise DataError("there are no probabilities of classes here: see columns and files.")
        return found


def answer(predictors: Sequence[Predictor], reader: Reader, ids: Sequence[str]) -> Answer:
    """Predict all that a reader reads; of several runs, the mean.

    Args:
        predictors: of one task and its classes.
        reader: of images or studies, whichever the runs see.
        ids: their names.

    Raises:
        DataError: if a run's folder does not say how it saw images.
    """
    tables: list[Table] = []
    bad: dict[int, str] = {}
    left_out: tuple[LeftOut, ...] = ()
    for predictor in predictors:
        seen = Seen(predictor, reader, ids)
        bad |= seen.bad
        left_out = seen.left_out
        if isinstance(predictor.task, SegmentationTask):
            return _masks(predictor.task, seen, reader, ids)
        if len(seen.rows):
            tables.append(predictor.task.table(rows_of(predictor.task, seen.batches())))
    good = [row for row in range(len(ids)) if row not in bad]
    why = {ids[row]: text for row, text in bad.items()}
    names = tuple(ids[row] for row in good)
    if not tables:
        return Answer((), {}, None, why, [])
    first = predictors[0]
    table = tables[0] if len(tables) == 1 else first.task.averaged(tables)
    columns = first.task.report.answers(table, first.task.described(), first.operating)
    return Answer(names, columns, table, why, [], left_out)


class Seen:
    """Images or studies as a run's evaluation sees them; those that cannot be read are `bad`."""

    def __init__(self, predictor: Predictor, reader: Reader, ids: Sequence[str]) -> None:
        seen, task = predictor.preprocessing, predictor.task
        if seen.view is None or seen.augment is None:
            raise DataError(seen.reason)
        view = seen.view
        self._transform = seen.evaluation
        self._views = SeveralViews(self._transform, seen.augment, view.tta)
        size = seen.augment.stored_size(view.side)
        shown = Studies(view) if isinstance(view, WindowView) else Images(view)
        store = Store(reader, shown.form(size), "memory", NOWHERE)
        self.bad = store.scan("skip", len(ids), view.counted)
        self.rows = np.array([r for r in range(len(ids)) if r not in self.bad], np.int64)
        self.left_out = tuple(store.facts(int(row)).left_out for row in self.rows)
        every = np.full(len(ids), "test")
        names = tuple(getattr(task, "class_names", ()))
        samples = Samples(tuple(ids), task.unlabelled(len(ids)), every, names, reader=reader)
        if not len(self.rows):
            return
        if not view.masks:
            used, transform = samples.take(self.rows), self._transform
            self._dataset: Any = shown.dataset(store, self.rows, used, transform)
        else:
            regions = ("background", *getattr(task, "regions", ()))
            overlap = bool(getattr(task, "overlap", False))
            volumes = isinstance(view, WindowView)
            layers = None if volumes else len(regions) - 1 if overlap else 1
            blank = BlankMasks(reader, layers)
            masks = Store(blank, shown.mask_form(size), "memory", NOWHERE)
            masks.scan("skip", len(ids), "masks")
            used = Samples(
                samples.ids, samples.labels, every, names,
                reader=reader, masks=blank, regions=regions, overlap=overlap,
            ).take(self.rows)  # fmt: skip
            self._dataset = shown.masked(store, masks, self.rows, used, self._transform)

    def batches(self, *, one_view: bool = False) -> DataLoader[Any]:
        """In order, each once; of several views, unless one will do, their mean is the task's."""
        views = 1 if one_view else self._views.count
        transform = self._transform if views == 1 else self._views
        dataset = self._dataset.plain(transform)
        size = max(1, min(MOST_AT_ONCE, BATCH_VALUES // self._values()) // views)
        size = 1 if dataset.alone else size
        return DataLoader(
            dataset,
            batch_size=size,
            sampler=EpochSampler(dataset, batch_size=size, training=False, seed=0),
            collate_fn=as_it_is if views == 1 else as_views,
        )

    def _values(self) -> int:
        """Of one input of the network."""
        return math.prod(self._dataset[0, 0]["image"].shape)


def _masks(task: SegmentationTask, seen: Seen, reader: Reader, ids: Sequence[str]) -> Answer:
    """A file or more an image, and how many pixels each region has."""
    files: list[tuple[str, bytes]] = []
    counts: list[list[int]] = []
    for number, mask in _numbered(task, seen):
        row = int(seen.rows[number])
        files += mask_files(reader, row, ids[row], mask.numpy(), overlap=task.overlap)
        counts.append([int(region.sum()) for region in mask])
    columns = {
        f"pixels/{name}": [str(each[place]) for each in counts]
        for place, name in enumerate(task.regions)
    }
    names = tuple(ids[int(row)] for row in seen.rows)
    why = {ids[row]: text for row, text in seen.bad.items()}
    return Answer(names, columns, None, why, files, seen.left_out)


def _numbered(task: SegmentationTask, seen: Seen) -> Iterator[tuple[int, Any]]:
    if not len(seen.rows):
        return
    for batch in seen.batches():
        yield from zip(batch["id"].tolist(), task.masks_of(batch), strict=True)

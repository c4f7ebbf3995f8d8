"""From a source to data sets: its samples found, checked, decoded once and split."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from filelock import FileLock

from ttl_lightning.data.checks import (
    check_images,
    describe_leaks,
    find_leaks,
    verify_labels,
    verify_samples,
)
from ttl_lightning.data.options import ImageView, Loading, Place
from ttl_lightning.data.samples import Integers, Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.store import Facts, Store
from ttl_lightning.data.views.dataset import ImageDataset, WindowDataset
from ttl_lightning.data.views.fit import fit_notes
from ttl_lightning.data.views.images import Images
from ttl_lightning.data.views.masks import MaskedStudies, check_masks, masks_of
from ttl_lightning.data.views.studies import Studies
from ttl_lightning.data.window_options import WindowView

Split = ImageDataset | WindowDataset | MaskedStudies


@dataclass(frozen=True)
class Prepared:
    """A source's samples as data sets.

    Attributes:
        samples: those that are used.
        rows: theirs in the source's readers.
        datasets: by split.
        bad: the skipped ones, as {"id", "reason"}.
        notes: what a run must say once.
        pixels: of training masks, each region's and the known ones of none of it, (regions, 2).
    """

    samples: Samples
    rows: Integers
    datasets: dict[str, Split]
    bad: list[dict[str, str]]
    notes: list[str]
    pixels: Integers


@contextlib.contextmanager
def _one_at_a_time(place: Place) -> Iterator[None]:
    """Of the jobs that share a place, wait for the one that decodes."""
    if not place.shared:
        yield
        return
    place.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(place.folder / "decoding.lock"):
        yield


def prepare(
    source: Source,
    view: ImageView | WindowView,
    loading: Loading,
    size: int,
    transforms: Mapping[str, Any],
) -> Prepared:
    """Find the samples, check them, decode each once, and make a data set of each split.

    Args:
        source: says what samples there are.
        view: what a network sees of them.
        loading: how they are kept, and what is done about those that are not as they should be.
        size: height and width at which they are kept.
        transforms: how batches are read, by split; there must be samples of each of these.

    Raises:
        DataError: if a check fails or a sample cannot be read.
    """
    shown = Studies(view) if isinstance(view, WindowView) else Images(view)
    samples = source.split_samples(size)
    verify_samples(samples, tuple(transforms))
    if not view.masks:
        verify_labels(samples, tuple(transforms))
    assert samples.reader is not None  # as load() promises
    files = len(samples.ids) if samples.reader.decoders > 1 else 0
    place = loading.place(shown.folder, files, size)
    cache, folder = place.cache, place.folder
    masks = None
    with _one_at_a_time(place):
        store = Store(samples.reader, shown.form(size), cache, folder)
        bad = store.scan(loading.on_bad_image, loading.max_bad, view.counted)
        if view.masks:
            reader = masks_of(samples, source.name)
            masks = Store(reader, shown.mask_form(size), cache, folder)
            bad |= masks.scan(loading.on_bad_image, loading.max_bad - len(bad), "masks")
    notes = list(samples.notes)
    if bad:
        notes.append(f"{len(bad)} {view.counted} that cannot be read were skipped.")
    rows = np.setdiff1d(np.arange(len(samples.ids)), list(bad))
    facts = [store.facts(int(row)) for row in rows]
    sides = np.array([one.sides for one in facts], np.int64).reshape(-1, 2)
    usable = samples.take(rows)
    notes += fit_notes(sides, size, view.fit, view.counted) + shown.notes(facts, usable.ids)
    rows, left_out = _without_leaks(rows, usable, facts, loading, view.counted)
    notes += left_out
    if isinstance(view, WindowView) and cache == "disk":
        notes.append(f"{len(samples.ids)} studies take {store.megabytes():.1f} MB in {folder}.")
    used = samples.take(rows)
    verify_samples(used, tuple(transforms))
    pixels: Integers = np.empty((0, 2), np.int64)
    if masks is None:
        verify_labels(used, tuple(transforms))
    else:
        pixels = check_masks(store, masks, rows, used)
    datasets: dict[str, Split] = {}
    for split, transform in transforms.items():
        chosen = used.rows(split)
        part = used.take(chosen)
        datasets[split] = (
            shown.dataset(store, rows[chosen], part, transform)
            if masks is None
            else shown.masked(store, masks, rows[chosen], part, transform)
        )
    skipped = [{"id": samples.ids[row], "reason": why} for row, why in bad.items()]
    return Prepared(used, rows, datasets, skipped, notes, pixels)


def _without_leaks(
    rows: Integers, samples: Samples, facts: Sequence[Facts], loading: Loading, counted: str
) -> tuple[Integers, list[str]]:
    """Rows without duplicates in two splits, if these are dropped, and what is said of them.

    Raises:
        DataError: if there are any, and they are not.
    """
    hashes = [one.hash for one in facts]
    if loading.on_duplicate == "raise":
        check_images(hashes, samples)
        return rows, []
    leaks = find_leaks(hashes, samples.splits)
    if not leaks:
        return rows, []
    note = (
        f"{len(leaks)} {counted} were left out of the split named first, because they "
        f"are in two: {describe_leaks(leaks, samples)}."
    )
    return np.delete(rows, list(leaks)), [note]

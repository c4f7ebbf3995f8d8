"""Checks before training. Each is a pure function that names the offenders in one line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.samples import SPLITS, Labels, Samples, listed
from ttl_lightning.errors import DataError

MAX_PAIRS = 5


def verify_labels(samples: Samples, splits: Sequence[str] = SPLITS) -> None:
    """Run every check of labels.

    Args:
        samples: of a source.
        splits: those that are used.

    Raises:
        DataError: on the first check that fails.
    """
    if samples.measured:
        check_numbers(samples, splits)
        return
    if len(samples.class_names) == 1:
        raise DataError("the data have no classes to tell apart: choose task=segmentation.")
    check_labels(samples.labels, samples.class_names)
    if "train" in splits:
        check_training_classes(samples.labels, samples.splits, samples.class_names)


def check_numbers(samples: Samples, splits: Sequence[str] = SPLITS) -> None:
    """Demand targets that differ where they are trained on.

    Raises:
        DataError: naming the target of which no training sample, or no two, are different.
    """
    if "train" not in splits:
        return
    trained = samples.labels[samples.splits == "train"]
    for name, column in zip(samples.class_names, trained.T, strict=True):
        known = column[~np.isnan(column)]
        if len(np.unique(known)) < 2:
            held = f"have the value {known[0]:g} only" if len(known) else "are not labelled"
            raise DataError(f"the training samples {held} in column {name!r}: nothing to learn.")


def verify_samples(samples: Samples, splits: Sequence[str] = SPLITS) -> None:
    """Run every other check that needs no image.

    Args:
        samples: of a source.
        splits: those that are used.

    Raises:
        DataError: on the first check that fails.
    """
    check_ids(samples.ids)
    check_filled(samples.splits, splits)
    if samples.patients is not None:
        check_patients(samples.patients, samples.splits)


def check_ids(ids: Sequence[str]) -> None:
    """Demand unique ids.

    Raises:
        DataError: naming the repeated ones.
    """
    repeated = [name for name, number in Counter(ids).items() if number > 1]
    if repeated:
        raise DataError(f"the same id stands for more than one sample: {listed(repeated)}.")


def check_labels(labels: Labels, class_names: Sequence[str]) -> None:
    """Demand labels that fit the classes.

    Raises:
        DataError: saying how many classes there are and what the labels hold.
    """
    count = len(class_names)
    if labels.ndim != 1:
        if labels.shape[1:] != (count,):
            raise DataError(f"{count} classes are named, but the labels have shape {labels.shape}.")
        allowed = np.isin(labels, (0, 1)) | np.isnan(labels)
        if not allowed.all():
            strange = labels[~allowed][0]
            raise DataError(
                f"labels of which several may hold must be 0, 1 or NaN, got {strange:g}."
            )
        return
    outside = (labels < 0) | (labels >= count)
    if outside.any():
        raise DataError(
            f"{count} classes are named ({listed(class_names)}), so labels run from 0 to "
            f"{count - 1}, but {int(outside.sum())} of {len(labels)} do not, such as "
            f"{int(labels[outside][0])}."
        )


def check_filled(splits: NDArray[np.str_], needed: Sequence[str] = SPLITS) -> None:
    """Demand a sample in every split that is needed.

    Raises:
        DataError: naming the empty splits and the numbers in all.
    """
    numbers = {split: int((splits == split).sum()) for split in needed}
    empty = [split for split, number in numbers.items() if number == 0]
    if empty:
        found = ", ".join(f"{split} {number}" for split, number in numbers.items())
        raise DataError(f"the {' and '.join(empty)} split is empty ({found} samples).")


def check_training_classes(
    labels: Labels, splits: NDArray[np.str_], class_names: Sequence[str]
) -> None:
    """Demand a training sample of every class.

    Raises:
        DataError: naming the absent classes and where else they are.
    """
    numbers = {
        split: (labels[splits == split] == 1).sum(0)
        if labels.ndim == 2
        else np.bincount(labels[splits == split], minlength=len(class_names))
        for split in SPLITS
    }
    absent = np.flatnonzero(numbers["train"] == 0)
    if len(absent):
        where = ", ".join(f"{split} {numbers[split][absent[0]]}" for split in SPLITS)
        names = listed([class_names[int(i)] for i in absent])
        raise DataError(f"no training sample of class {names} (of the first: {where} samples).")


def check_patients(patients: Sequence[Hashable], splits: NDArray[np.str_]) -> None:
    """Demand that each patient's images are in one split.

    Raises:
        DataError: naming the patients, and the splits of the first.
    """
    where: defaultdict[Hashable, set[str]] = defaultdict(set)
    for patient, split in zip(patients, splits, strict=True):
        where[patient].add(str(split))
    shared = {patient: found for patient, found in where.items() if len(found) > 1}
    if shared:
        first = " and ".join(split for split in SPLITS if split in next(iter(shared.values())))
        named = listed([str(patient) for patient in shared])
        raise DataError(f"the same patient is in two splits: {named} (the first in {first}).")


def find_leaks(hashes: Sequence[str], splits: NDArray[np.str_]) -> Mapping[int, int]:
    """Samples whose image is in a later split too (train before val before test).

    Args:
        hashes: one an image, of its decoded pixels.
        splits: one an image.

    Returns:
        Row of each such sample, with the row of its copy in the latest split that has one.
    """
    rank = {split: i for i, split in enumerate(SPLITS)}
    last: dict[str, int] = {}
    for row, (key, split) in enumerate(zip(hashes, splits, strict=True)):
        if key not in last or rank[str(split)] > rank[str(splits[last[key]])]:
            last[key] = row
    copies = {row: last[key] for row, key in enumerate(hashes)}
    return {row: copy for row, copy in copies.items() if splits[row] != splits[copy]}


def describe_leaks(leaks: Mapping[int, int], samples: Samples) -> str:
    """What `find_leaks` found, in words: pairs of ids with their splits."""
    pairs = [
        f"{samples.ids[row]} ({samples.splits[row]}) = {samples.ids[copy]} ({samples.splits[copy]})"
        for row, copy in leaks.items()
    ]
    shown = "; ".join(pairs[:MAX_PAIRS])
    return shown + (f"; … ({len(pairs)} pairs in all)" if len(pairs) > MAX_PAIRS else "")


def check_images(hashes: Sequence[str], samples: Samples) -> None:
    """Demand that no image is in two splits.

    Raises:
        DataError: naming the pairs.
    """
    leaks = find_leaks(hashes, samples.splits)
    if leaks:
        raise DataError(
            f"the same image or study is in two splits: {describe_leaks(leaks, samples)}. Remove "
            "one of each, or let data.on_duplicate=drop leave out the one that is trained or "
            "chosen on."
        )

"""Whether two methods differ by more than chance explains: that of training, and of test images.

Trainings are to a method what readers are to a way of imaging: each judges the same images, and
both could have been others. So the tests are those of multi-reader multi-case studies. They take
any metric that can say what each image adds to its error (`parts`), and no more of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.bootstrap import unique_numbers
from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.metrics.kernel import Bools, Floats
from ttl_lightning.metrics.parts import auprc_parts, auroc_parts

# A class's scores, and which samples are of it -> the metric, and each image's part in its error.
OfClass = Callable[[Floats, Bools], tuple[float, Floats]]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A model's scores on a test split.

    Attributes:
        ids: one name an image, (n,).
        scores: (n, classes); of binary tasks class 1 alone, (n, 1).
        targets: 1 for the class, 0 for the others, NaN where not labelled; shaped as the scores.
            Of other tasks whatever the scores are judged by.
        patients: whom each image shows, (n,); None where nobody says, so that each stands alone.
    """

    ids: tuple[str, ...]
    scores: Floats
    targets: Floats
    patients: tuple[str, ...] | None = None

    @property
    def draws(self) -> tuple[str, ...]:
        """What is drawn anew with each image: its patient, who may have several, or itself."""
        return self.ids if self.patients is None else self.patients

    def ordered(self, ids: tuple[str, ...]) -> Scored:
        """The same images in another order."""
        places = {name: place for place, name in enumerate(self.ids)}
        order = [places[name] for name in ids]
        drawn = self.patients and tuple(self.patients[place] for place in order)
        return Scored(ids, self.scores[order], self.targets[order], drawn)


# A model's scores -> the metric, and each image's part in its error.
Kernel = Callable[[Scored], tuple[float, Floats]]


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """Independent trainings of one method, or differences of pairs of trainings.

    Attributes:
        values: the metric, (trainings,); negative for what is subtracted.
        parts: each image's part in the error of each value, (trainings, images), of patients the
            sum over their images: the product of two rows is the covariance of their values as the
            images, or patients, are drawn anew.
    """

    values: Floats
    parts: Floats


def compare(
    kernel: Kernel,
    ours: Mapping[int, Scored],
    theirs: Mapping[int, Scored],
    widest: float = math.inf,
) -> Comparison:
    """Test the difference of two means over trainings.

    Where all trainings are tested on the same images, trainings are taken to be nested in their
    method: seed 3 of one method is another training than seed 3 of the other, and seeds that one
    side alone has count too. A seed may yet draw the order of images and the validation split for
    both; what two trainings share by it makes their difference vary less than is assumed, so that
    the test errs on the safe side. Where the test images change with the seed, both are tested on
    the same ones within a seed only, so differences by seed are compared, of the seeds in both.

    Args:
        kernel: of the metric, such as one of `METRICS`.
        ours: by seed.
        theirs: by seed.
        widest: what no difference of the metric is beyond.

    Raises:
        DataError: if nothing can be compared, or the variance is not defined.
    """
    if not ours or not theirs:
        raise DataError("one side has no predictions.")
    for seed, table in (*ours.items(), *theirs.items()):
        if len(set(table.ids)) < len(table.ids):
            raise DataError(f"of seed {seed}, an image is listed twice.")
    tables = aligned([*ours.values(), *theirs.values()])
    if tables:
        seeds = len(ours), len(theirs)
        mine, other = _arm(kernel, tables[: len(ours)]), _arm(kernel, tables[len(ours) :])
        arms = [mine, Arm(-other.values, -other.parts)]
    else:
        arms = [_paired(kernel, ours, theirs)]
        seeds = (len(arms[0].values),) * 2
    difference, by_images, by_training, freedom = contrast(arms)
    if not by_images + by_training and difference:
        raise DataError("no test sample's scores vary, so the difference has no spread.")
    images = arms[0].parts.shape[1]
    return Comparison(
        difference, by_images, by_training, freedom, seeds, images, not tables, widest=widest
    )


def contrast(arms: Sequence[Arm]) -> tuple[float, float, float, float | None]:
    """The sum of the arms' means, and what chance does to it.

    The values of an arm lie apart by their trainings and by what images do to one training and not
    to another; what images do to all alike, these differences do not show, and it is taken from
    the parts. Values that happen to lie closer together than the images alone would have them are
    no evidence that training changes nothing: the images' share is the least.

    Returns:
        The sum; its variance by what images do to all trainings; its variance by trainings; the
        degrees of freedom of the latter. With one value in an arm the first variance is all that
        images do, the second 0 and the degrees of freedom None.

    Source:
        Obuchowski and Rockette, Communications in Statistics: Simulation and Computation 24
        (1995) 285-308, for values that share images; Hillis, A marginal-mean ANOVA approach for
        analyzing multireader multicase radiological imaging data, Statistics in Medicine 33 (2014)
        330-360, for readers nested in their test. Departures: each arm has its own variance
        (Welch's approximation), as frozen features vary less than full finetuning; and the two
        variances are not made one with Hillis's degrees of freedom, which at three trainings, where
        one arm varies more, finds twice the false positives (`benchmarks/type_one_error.py`).
    """
    difference = float(sum(arm.values.mean() for arm in arms))
    mean_parts = np.sum([arm.parts.mean(axis=0) for arm in arms], axis=0)
    by_images = float(mean_parts @ mean_parts)
    counts = np.array([len(arm.values) for arm in arms])
    if counts.min() < 2:
        return difference, by_images, 0.0, None
    # How far the values of an arm would lie apart if images were the only chance.
    apart = np.array([arm.parts.var(axis=0, ddof=1).sum() for arm in arms])
    seen = np.maximum([arm.values.var(ddof=1) for arm in arms], apart) / counts
    by_training = float(seen.sum())
    spread = float((seen**2 / (counts - 1)).sum())
    freedom = by_training**2 / spread if spread else math.inf
    return difference, max(by_images - float((apart / counts).sum()), 0.0), by_training, freedom


def aligned(tables: Sequence[Scored]) -> list[Scored]:
    """The tables in the order of the first; none if they are not of the same images and labels."""
    first, found = tables[0], []
    for given in tables:
        table = given
        if table.ids != first.ids:
            if set(table.ids) != set(first.ids):
                return []
            table = table.ordered(first.ids)
        if table.patients != first.patients:
            return []
        if not np.array_equal(table.targets, first.targets, equal_nan=True):
            return []
        found.append(table)
    return found


def _one_meaning(tables: Sequence[Scored]) -> bool:
    """Whether a name means one image in all tables, as far as its labels tell."""
    labels: dict[str, tuple[float, ...]] = {}
    for table in tables:
        for name, row in zip(table.ids, np.nan_to_num(table.targets, nan=-1.0), strict=True):
            if labels.setdefault(name, tuple(row)) != tuple(row):
                return False
    return True


def _arm(kernel: Kernel, tables: Sequence[Scored]) -> Arm:
    """Trainings that were tested on the same images, in the same order."""
    values, parts = zip(*map(kernel, tables), strict=True)
    return Arm(np.array(values), _sums(np.array(parts), tables[0].draws))


def by_draw(parts: Floats, draws: Sequence[str]) -> Floats:
    """Parts (n,) of one training, of a patient's images their sum."""
    found: Floats = _sums(parts[None], draws)[0]
    return found


def _sums(parts: Floats, draws: Sequence[str]) -> Floats:
    """The parts of what is drawn together, (trainings, draws).

    Source: Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53 (1997)
        567-578: the parts of a patient's images add up before they are squared.
    """
    numbers = unique_numbers(draws)
    sums = np.zeros((len(parts), int(numbers.max()) + 1))
    np.add.at(sums.T, numbers, parts.T)
    return sums


def _paired(kernel: Kernel, ours: Mapping[int, Scored], theirs: Mapping[int, Scored]) -> Arm:
    """The differences of each seed that both have; an image that seeds share has one number."""
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        raise DataError("there is no seed of which both have predictions.")
    shared = _one_meaning([ours[seed] for seed in seeds])
    numbers: dict[tuple[int | None, str], int] = {}
    values, rows = [], []
    for seed in seeds:
        mine, other = ours[seed], theirs[seed]
        if set(other.ids) != set(mine.ids) or mine.targets.shape != other.targets.shape:
            raise DataError(f"of seed {seed}, the test samples are not the same.")
        other = other.ordered(mine.ids)
        if other.patients != mine.patients:
            raise DataError(f"of seed {seed}, the patients are not the same.")
        if not np.array_equal(mine.targets, other.targets, equal_nan=True):
            raise DataError(f"of seed {seed}, the labels are not the same.")
        (our_value, our_parts), (value, parts) = kernel(mine), kernel(other)
        keys = [(None if shared else seed, name) for name in mine.draws]
        where = [numbers.setdefault(key, len(numbers)) for key in keys]
        rows.append((where, our_parts - parts))
        values.append(our_value - value)
    table = np.zeros((len(seeds), len(numbers)))
    for place, (where, parts) in enumerate(rows):
        np.add.at(table[place], where, parts)
    return Arm(np.array(values), table)


def mean_over_classes(of_class: OfClass, table: Scored) -> tuple[float, Floats]:
    """The metric's mean over the classes present, and its parts."""
    values, total = [], np.zeros(len(table.ids))
    for scores, targets in zip(table.scores.T, table.targets.T, strict=True):
        known = ~np.isnan(targets)
        positive = targets[known] == 1
        if positive.all() or not positive.any():
            continue
        value, parts = of_class(scores[known], positive)
        values.append(value)
        total[known] += parts
    if not values:
        raise DataError("the test samples have no positives, or no negatives.")
    return float(np.mean(values)), total / len(values)


METRICS: dict[str, Kernel] = {
    "auroc": partial(mean_over_classes, auroc_parts),
    "auprc": partial(mean_over_classes, auprc_parts),
}

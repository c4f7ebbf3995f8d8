"""How often the report's tests find a difference between two methods that are equally good.

    python benchmarks/type_one_error.py [--quick]

Two methods are trained with a few seeds each and tested on the same images. A training's score of
an image is the signal, what all methods find hard about the image, what this method finds hard, and
this training's own chance; besides, trainings differ in ability, so that their true AUROCs have a
standard deviation. "before" are tests that know the images' chance alone, as reports had: DeLong's,
and a paired bootstrap of the images. "now" is `metrics.paired.compare`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ttl_lightning.metrics.paired import METRICS, Scored, compare

Floats = npt.NDArray[np.float64]

PREVALENCE, AUROC = 0.4, 0.88
# Parts of the variance of scores of one class: of the image, of method and image, of the training.
SHARES = (0.6, 0.2, 0.2)
DEVIATIONS = (0.0, 0.009, 0.021, 0.042)
SEEDS, IMAGES = (3, 5, 10), (200, 600)
DIFFERENCE = 0.02
RESAMPLES = 199
# The bootstrap is slow: it is run on the first of the studies only.
BOOTSTRAPPED = 100


@dataclass(frozen=True)
class Setting:
    """One kind of study: the deviations between trainings are of the first and second method."""

    images: int
    seeds: int
    deviations: tuple[float, float]


def study(
    rng: np.random.Generator, setting: Setting, difference: float
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Draw a study's scores, (2, seeds, images), and which images are positive."""
    n, seeds = setting.images, setting.seeds
    positive = rng.permutation(n) < round(PREVALENCE * n)
    hard, taste, luck = (np.sqrt(share) for share in SHARES)
    scores = hard * rng.normal(size=n) + taste * rng.normal(size=(2, 1, n))
    scores = scores + luck * rng.normal(size=(2, seeds, n))
    means = AUROC + np.array([[difference / 2], [-difference / 2]])
    areas = means + np.array(setting.deviations)[:, None] * rng.normal(size=(2, seeds))
    signal = np.sqrt(2) * stats.norm.ppf(np.clip(areas, 2 * means - 0.999, 0.999))
    return scores + signal[:, :, None] * positive, positive


def areas_of(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """DeLong's V10 and V01 of every row of scores; their means are the AUROCs."""
    n, m = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores, axis=-1)
    first = ranks[..., positive] - stats.rankdata(scores[..., positive], axis=-1)
    second = ranks[..., ~positive] - stats.rankdata(scores[..., ~positive], axis=-1)
    return first / m, 1 - second / n


def delong(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The p-value of the difference of mean AUROCs, trainings taken to be fixed."""
    v10, v01 = ((v[0] - v[1]).mean(axis=0) for v in areas_of(scores, positive))
    error = np.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
    return float(2 * stats.norm.sf(abs(v10.mean()) / error))


def precision(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Average precision of scores without ties under each row of weights."""
    order = np.argsort(-scores)
    weights, hit = weights[:, order], positive[order]
    true = np.cumsum(weights * hit, axis=1)
    share = true / np.maximum(np.cumsum(weights, axis=1), 1)
    return (weights * hit * share).sum(axis=1) / true[:, -1]


def bootstrap(rng: np.random.Generator, scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The p-value of the difference of mean AUPRCs, trainings taken to be fixed."""
    n = len(positive)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    drawn = [np.mean([precision(row, positive, weights) for row in side], 0) for side in scores]
    above = float((drawn[0] - drawn[1] > 0).mean())
    return 2 * min(above, 1 - above)


def tables(side: Floats, positive: npt.NDArray[np.bool_]) -> dict[int, Scored]:
    """One method's predictions as the report reads them."""
    names, targets = tuple(map(str, range(len(positive)))), positive[:, None].astype(float)
    return {seed: Scored(names, row[:, None], targets) for seed, row in enumerate(side)}


@dataclass
class Rates:
    """How often each test found a difference, and how often the interval of today's held the truth.

    The true difference of AUPRC is not known unless the methods are equal.
    """

    before: dict[str, float]
    now: dict[str, float]
    held: dict[str, float]


def measure(setting: Setting, difference: float, studies: int, seed: int = 0) -> Rates:
    """Draw studies and test each."""
    rng = np.random.default_rng([seed, setting.images, setting.seeds])
    before: dict[str, list[bool]] = {"auroc": [], "auprc": []}
    now: dict[str, list[bool]] = {"auroc": [], "auprc": []}
    held: dict[str, list[bool]] = {"auroc": [], "auprc": []}
    for number in range(studies):
        scores, positive = study(rng, setting, difference)
        before["auroc"].append(delong(scores, positive) < 0.05)
        if number < BOOTSTRAPPED:
            before["auprc"].append(bootstrap(rng, scores, positive) < 0.05)
        sides = [tables(side, positive) for side in scores]
        for metric in now:
            found = compare(METRICS[metric], *sides)
            assert found.p_value is not None
            now[metric].append(found.p_value < 0.05)
            held[metric].append(found.interval[0] <= difference <= found.interval[1])
    return Rates(*({key: float(np.mean(v)) for key, v in x.items()} for x in (before, now, held)))


def settings() -> Iterator[Setting]:
    """Every study that is measured; the last have a method that trainings leave alone."""
    for images in IMAGES:
        for seeds in SEEDS:
            for deviation in DEVIATIONS:
                yield Setting(images, seeds, (deviation, deviation))
            yield Setting(images, seeds, (0.0, DEVIATIONS[-1]))


def main() -> None:
    """Print the table, in percent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies")
    parser.add_argument("--smoke", action="store_true", help="one study: whether it runs")
    parser.add_argument("--studies", type=int, default=2000)
    args = parser.parse_args()
    studies = 1 if args.smoke else args.studies // 10 if args.quick else args.studies
    start, worst = time.perf_counter(), 0.0
    print(f"{studies} studies a row, in %; power: of a true difference of {DIFFERENCE} AUROC\n")
    print(
        "| test images | seeds | deviation of AUROC "
        "| AUROC before | now | interval holds | power "
        "| AUPRC before | now | interval holds | power |"
    )
    print(f"|{'---:|' * 11}")
    for setting in settings():
        null = measure(setting, 0.0, studies)
        power = measure(setting, DIFFERENCE, max(studies // 4, 1), seed=1).now
        cells = [
            f"{100 * value:.1f}"
            for key in ("auroc", "auprc")
            for value in (null.before[key], null.now[key], null.held[key], power[key])
        ]
        deviation = " and ".join(dict.fromkeys(f"{value:.3f}" for value in setting.deviations))
        print(
            f"| {setting.images} | {setting.seeds} | {deviation} | {' | '.join(cells)} |",
            flush=True,
        )
        worst = max(worst, *null.now.values())
    print(f"\nmost false positives now: {100 * worst:.1f} % ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()

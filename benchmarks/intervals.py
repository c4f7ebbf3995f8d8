"""How often a metric's 95 % interval holds its true value: `python benchmarks/intervals.py`.

Samples are drawn anew from a known source, a few of them, and the intervals of their metrics are
compared with the metrics of 100,000 samples. "before" are percentiles of a bootstrap, as runs had;
"now" is `metrics.bootstrap.bootstrap_intervals`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from ttl_lightning.metrics.bootstrap import bootstrap_intervals
from ttl_lightning.metrics.classification import METRICS, weighted_scores

Floats = npt.NDArray[np.float64]

SHOWN = tuple(key for key in METRICS if key != "ece")
RESAMPLES, LARGE = 500, 100_000
# Name, number of samples, how far apart the classes are, shares of positives or number of classes.
SETTINGS: tuple[tuple[str, int, float, tuple[float, ...] | int], ...] = (
    ("binary", 40, 1.5, (0.5,)),
    ("imbalanced", 200, 1.5, (0.06,)),
    ("binary", 300, 1.5, (0.4,)),
    ("easy", 60, 3.5, (0.4,)),
    ("nine classes", 90, 1.2, 9),
    ("nine classes", 450, 1.2, 9),
    ("four labels", 80, 1.2, (0.1, 0.2, 0.3, 0.5)),
)


def draw(
    rng: np.random.Generator, n: int, apart: float, kind: tuple[float, ...] | int
) -> tuple[Floats, npt.NDArray[np.int64] | Floats, str]:
    """Probabilities, labels and the task."""
    if isinstance(kind, int):
        labels = rng.integers(0, kind, n)
        odds = np.exp(rng.normal(size=(n, kind)) + apart * np.eye(kind)[labels])
        return odds / odds.sum(axis=1, keepdims=True), labels, "multiclass"
    truth = rng.random((n, len(kind))) < np.array(kind)
    logits = (
        rng.normal(size=truth.shape)
        + apart * (truth - 0.5)
        + np.log(kind)
        - np.log1p(-np.array(kind))
    )
    sick = 1 / (1 + np.exp(-logits))
    if len(kind) == 1:
        return np.hstack([1 - sick, sick]), truth[:, 0].astype(np.int64), "binary"
    return sick, truth.astype(np.float64), "multilabel"


def percentiles(
    rng: np.random.Generator, probabilities: Floats, labels: Floats, task: str
) -> dict[str, tuple[float, float]]:
    """The intervals that runs had before."""
    n = len(labels)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    drawn, _ = weighted_scores(probabilities, labels, task, weights)
    return {key: tuple(np.nanquantile(drawn[key], (0.025, 0.975))) for key in SHOWN}


def main() -> None:
    """Print two rows a setting, in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the draws")
    parser.add_argument("--smoke", action="store_true", help="one draw: whether it runs")
    parser.add_argument("--draws", type=int, default=500)
    args = parser.parse_args()
    draws = 1 if args.smoke else args.draws // 5 if args.quick else args.draws
    start = time.perf_counter()
    print(f"{draws} draws a row: how often the interval holds the true value (auprc: and how often")
    print("it does not hold its own estimate), in %\n")
    print(f"| samples | intervals | {' | '.join(SHOWN)} | auprc outside |")
    print(f"|---|---|{'---:|' * (len(SHOWN) + 1)}")
    for name, n, apart, kind in SETTINGS:
        rng = np.random.default_rng(0)
        many = draw(rng, LARGE, apart, kind)
        truth = {k: v[0] for k, v in weighted_scores(*many, np.ones((1, LARGE)))[0].items()}
        held: dict[str, dict[str, list[bool]]] = {
            w: {k: [] for k in SHOWN} for w in ("before", "now")
        }
        outside: dict[str, list[bool]] = {"before": [], "now": []}
        for number in range(draws):
            few = draw(rng, n, apart, kind)
            point = weighted_scores(*few, np.ones((1, n)))[0]["auprc"][0]
            now = bootstrap_intervals(*few, resamples=RESAMPLES, seed=number)
            for when, spans in (("before", percentiles(rng, *few)), ("now", now)):
                for key in SHOWN:
                    if (span := spans[key]) is not None:
                        held[when][key].append(span[0] <= truth[key] <= span[1])
                if (span := spans["auprc"]) is not None:
                    outside[when].append(not span[0] <= point <= span[1])
        for when, table in held.items():
            cells = [f"{100 * np.mean(table[key]):.1f}" for key in SHOWN]
            cells.append(f"{100 * np.mean(outside[when]):.1f}")
            print(f"| {n}, {name} | {when} | {' | '.join(cells)} |", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

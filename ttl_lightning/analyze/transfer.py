"""Which features training keeps: every unit's before training beside those after it.

Source: the paper's Fig. 4 (i). Features are maps folded to (images × positions, channels), the
random baseline has their retained dimensions and number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ttl_lightning.analysis.baselines import gaussian_coefficients, mismatched, spectrum_edges
from ttl_lightning.analysis.detection import Reuse, excess
from ttl_lightning.analysis.moments import Moments
from ttl_lightning.analysis.svcca import VARIANCE_KEPT, Floats, Similarity, similarity
from ttl_lightning.analyze.figures import boxes
from ttl_lightning.analyze.findings import Findings
from ttl_lightning.analyze.runs import OpenRun
from ttl_lightning.errors import DataError

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Options:
    """What `transfer` takes on the command line; see there."""

    split: str = "test"
    most: int | None = None
    variance: float = VARIANCE_KEPT
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class UnitTransfer:
    """How much of one unit's features training kept.

    Attributes:
        unit: its name.
        similarity: of its features before and after training.
        random: coefficients of Gaussian features of the same retained dimensions and samples.
        random_edges: where theirs end as all numbers grow large.
        permuted_mean: mean coefficient where each image's features before training are paired with
            another image's after it; None where every batch was of one image.
    """

    unit: str
    similarity: Similarity
    random: Floats
    random_edges: tuple[float, float]
    permuted_mean: float | None

    @property
    def reuse(self) -> Reuse:
        """What the rule of detection reads."""
        random_mean = float(self.random.mean()) if len(self.random) else None
        return Reuse(self.similarity.mean, random_mean, self.similarity.coefficients, self.random)


def transfer(
    run: OpenRun,
    split: str = "test",
    most: int | None = None,
    variance: float = VARIANCE_KEPT,
    seed: int = 0,
) -> list[UnitTransfer]:
    """Compare every unit before and after training, in one pass over the images.

    Args:
        run: of any strategy.
        split: whose images are used.
        most: how many of them at most.
        variance: see `similarity`.
        seed: of the random baselines.

    Raises:
        TTLError: if an option is out of range, or features are not finite.
    """
    units = run.after.backbone.cutoffs
    true = Moments([(f"{BEFORE} {unit}", f"{AFTER} {unit}") for unit in units])
    permuted = Moments(true.pairs)
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for batch in run.batches(split, most):
            maps = {f"{BEFORE} {u}": x for u, x in run.before.backbone.features(batch["image"])}
            maps |= {f"{AFTER} {u}": x for u, x in run.after.backbone.features(batch["image"])}
            true.update(maps)
            if len(batch["image"]) > 1:
                order = mismatched(len(batch["image"]), generator).to(run.device)
                permuted.update(
                    {k: x[order] if k.startswith(BEFORE) else x for k, x in maps.items()}
                )
    return [
        _unit(unit, true, permuted, variance, seed + number) for number, unit in enumerate(units)
    ]


def _unit(unit: str, true: Moments, permuted: Moments, variance: float, seed: int) -> UnitTransfer:
    pair = f"{BEFORE} {unit}", f"{AFTER} {unit}"
    found = similarity(true.pair(*pair), variance)
    p, q = found.retained
    if not min(p, q):  # a unit that is constant
        return UnitTransfer(unit, found, np.empty(0), (0.0, 0.0), None)
    other = similarity(permuted.pair(*pair), variance).mean if permuted.images else None
    random = gaussian_coefficients(p, q, found.n, seed)
    return UnitTransfer(unit, found, random, spectrum_edges(p, q, found.n), other)


def report(run: OpenRun, options: Options) -> Findings:
    """Table, spectra and figure of `transfer`."""
    found = transfer(run, options.split, options.most, options.variance, options.seed)
    units = [unit.unit for unit in found]
    figure = boxes(
        units,
        {
            "before and after training": [unit.similarity.coefficients for unit in found],
            "random": [unit.random for unit in found],
        },
        {"other images, mean": [unit.permuted_mean for unit in found]},
        "canonical correlation",
    )
    figure.suptitle(run.title)
    rows = [row(unit) for unit in found]
    scored = [line for line in rows if line["excess"] is not None]
    most = max(scored, key=lambda line: line["excess"], default=None)
    least = min(scored, key=lambda line: line["excess"], default=None)
    headline = "no unit's features could be compared."
    if most and least:
        headline = (
            f"of what chance leaves to reach, training kept most at {most['unit']} "
            f"({most['excess']:.2f}) and least at {least['unit']} ({least['excess']:.2f})."
        )
    spectra = {
        unit.unit: {
            "coefficients": unit.similarity.coefficients.tolist(),
            "random": unit.random.tolist(),
        }
        for unit in found
    }
    return Findings(headline, rows, {"spectra": spectra}, {"": figure})


def row(found: UnitTransfer) -> dict[str, Any]:
    """One unit's line of the table."""
    try:
        kept: float | None = excess(found.reuse)
    except DataError:
        kept = None
    alike, edges = found.similarity, found.random_edges
    return {
        "unit": found.unit,
        "mean": alike.mean,
        "pwcca": alike.pwcca,
        "random_mean": found.reuse.random_mean,
        "random_low": edges[0],
        "random_high": edges[1],
        "permuted_mean": found.permuted_mean,
        "excess": kept,
        "retained_before": alike.retained[0],
        "retained_after": alike.retained[1],
        "n": alike.n,
    }

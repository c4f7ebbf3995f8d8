"""Which features training keeps: every unit's before training beside those after it.

Source: the paper's Fig. 4 (i). Features are maps folded to (images × positions, channels), the
random baseline has their retained dimensions and number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttl_lightning.errors import check_number
from ttl_lightning.interpret.baselines import expected_coefficients, mismatched, spectrum_edges
from ttl_lightning.interpret.commands.figures import boxes
from ttl_lightning.interpret.commands.findings import Findings
from ttl_lightning.interpret.commands.options import Images
from ttl_lightning.interpret.commands.options import Transfer as Options
from ttl_lightning.interpret.detection import Reuse, known_excess
from ttl_lightning.interpret.moments import Moments
from ttl_lightning.interpret.svcca import Floats, Similarity, check_variance, similarity
from ttl_lightning.runs.open import OpenRun

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True, eq=False)
class UnitTransfer:
    """How much of one unit's features training kept.

    Attributes:
        unit: its name.
        similarity: of its features before and after training.
        random: what Gaussian features of the same retained dimensions and samples are expected to
            reach.
        random_edges: where theirs end as all numbers grow large.
    """

    unit: str
    similarity: Similarity
    random: Floats
    random_edges: tuple[float, float]

    @classmethod
    def of(cls, unit: str, found: Similarity) -> UnitTransfer:
        """Put what chance reaches beside what was found."""
        p, q = found.retained
        if not min(p, q):  # a unit that is constant
            return cls(unit, found, np.empty(0), (0.0, 0.0))
        random = expected_coefficients(p, q, found.n)
        return cls(unit, found, random, spectrum_edges(p, q, found.n))

    @property
    def reuse(self) -> Reuse:
        """What the rule of detection reads."""
        random_mean = float(self.random.mean()) if len(self.random) else None
        return Reuse(self.similarity.mean, random_mean, self.similarity.coefficients, self.random)


def compare(run: OpenRun, options: Images) -> list[UnitTransfer]:
    """Compare every unit before and after training, in one pass over the images.

    Raises:
        TTLError: if an option is out of range, or features are not finite.
    """
    seen = Moments(_pairs(run))
    for maps in _maps(run, options):
        seen.update(maps)
    return _units(run, seen, options)


def compare_halves(
    run: OpenRun, options: Images
) -> tuple[list[UnitTransfer], tuple[list[UnitTransfer], list[UnitTransfer]]]:
    """Compare as `compare` does and, in the same pass, in each of two halves of the images.

    Neighbours, such as the images of one patient, mostly stay in one half: each batch is cut in
    two.

    Returns:
        What `compare` does, and the same of each half; empty lists if a half has no images.

    Raises:
        TTLError: as of `compare`.
    """
    first, second = Moments(_pairs(run)), Moments(_pairs(run))
    for maps in _maps(run, options):
        images = len(next(iter(maps.values())))
        middle = (images + (first.images <= second.images)) // 2
        first.update({key: x[:middle] for key, x in maps.items()})
        second.update({key: x[middle:] for key, x in maps.items()})
    of_first, of_second = (
        _units(run, half, options) if second.images else [] for half in (first, second)
    )
    first.merge(second)
    return _units(run, first, options), (of_first, of_second)


def transfer(run: OpenRun, options: Options) -> tuple[list[UnitTransfer], dict[str, float | None]]:
    """Compare as `compare` does and, in the same pass, with the baseline of permuted images.

    Returns:
        What `compare` does; and by unit, the mean coefficient where each image's features before
        training are paired with another image's after it, None where every batch was of one image
        or a unit is constant.

    Raises:
        TTLError: as of `compare`.
    """
    check_number("seed", options.seed, 0, integer=True)
    seen, permuted = Moments(_pairs(run)), Moments(_pairs(run))
    generator = np.random.default_rng(options.seed)
    for maps in _maps(run, options):
        seen.update(maps)
        images = len(next(iter(maps.values())))
        if images > 1:
            order = mismatched(images, generator).to(run.device)
            permuted.update({k: x[order] if k.startswith(BEFORE) else x for k, x in maps.items()})
    units = run.after.backbone.cutoffs
    means: dict[str, float | None] = dict.fromkeys(units)
    if permuted.images:
        means = {
            unit: similarity(permuted.pair(*pair), options.variance).mean
            for unit, pair in zip(units, permuted.pairs, strict=True)
        }
    return _units(run, seen, options), means


def _pairs(run: OpenRun) -> list[tuple[str, str]]:
    return [(f"{BEFORE} {unit}", f"{AFTER} {unit}") for unit in run.after.backbone.cutoffs]


def _maps(run: OpenRun, options: Images) -> Iterator[dict[str, Tensor]]:
    """Both models' maps, batch by batch."""
    check_variance(options.variance)
    models = {BEFORE: run.before.backbone, AFTER: run.after.backbone}
    for batch in run.batches(options.split, options.most):
        with torch.no_grad():
            maps = {
                f"{when} {unit}": x
                for when, backbone in models.items()
                for unit, x in backbone.features(batch["image"])
            }
        yield maps


def _units(run: OpenRun, seen: Moments, options: Images) -> list[UnitTransfer]:
    return [
        UnitTransfer.of(unit, similarity(seen.pair(*pair), options.variance))
        for unit, pair in zip(run.after.backbone.cutoffs, seen.pairs, strict=True)
    ]


def report(run: OpenRun, options: Options) -> Findings:
    """Table, spectra and figure of `transfer`."""
    found, permuted = transfer(run, options)
    units = [unit.unit for unit in found]
    figure = boxes(
        units,
        {
            "before and after training": [unit.similarity.coefficients for unit in found],
            "random features": [unit.random for unit in found],
        },
        {"permuted images, mean": [permuted[unit] for unit in units]},
        "canonical correlation",
    )
    figure.suptitle(run.title)
    rows = [{**row(unit), "permuted_mean": permuted[unit.unit]} for unit in found]
    scored = [line for line in rows if line["excess"] is not None]
    headline = "no unit's features could be compared."
    if scored:
        most, least = (pick(scored, key=lambda line: line["excess"]) for pick in (max, min))
        headline = (
            f"of what chance leaves to reach, training kept most at {most['unit']} "
            f"({most['excess']:.2f}) and least at {least['unit']} ({least['excess']:.2f})."
        )
    spectra = {
        u.unit: {"coefficients": u.similarity.coefficients.tolist(), "random": u.random.tolist()}
        for u in found
    }
    return Findings(headline, rows, {"spectra": spectra}, {"": figure})


def row(found: UnitTransfer) -> dict[str, Any]:
    """One unit's line of the table."""
    alike, edges = found.similarity, found.random_edges
    return {
        "unit": found.unit,
        "mean": alike.mean,
        "pwcca": alike.pwcca,
        "random_mean": found.reuse.random_mean,
        "random_low": edges[0],
        "random_high": edges[1],
        "excess": known_excess(found.reuse),
        "retained_before": alike.retained[0],
        "retained_after": alike.retained[1],
        "n": alike.n,
    }

"""How alike the units of one model are, before training and after it.

Source: the paper's Fig. 4 (ii). Where two maps differ in size, the larger is average-pooled to the
smaller. A pair's random baseline has its retained dimensions and number of samples: values of pairs
of different widths do not compare, their excess over chance does.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ttl_lightning.errors import DataError
from ttl_lightning.interpret.commands.figures import matrices
from ttl_lightning.interpret.commands.findings import Findings
from ttl_lightning.interpret.commands.options import Cross as Options
from ttl_lightning.interpret.commands.transfer import UnitTransfer
from ttl_lightning.interpret.detection import known_excess
from ttl_lightning.interpret.moments import Grid, Moments, shared_grid
from ttl_lightning.interpret.svcca import Basis, Floats, Similarity, check_variance, relate, whiten
from ttl_lightning.runs.open import OpenRun

Pair = tuple[str, str]


def cross(run: OpenRun, options: Options) -> dict[str, dict[Pair, Similarity]]:
    """Compare the units of each of the two models, in one pass over the images.

    Returns:
        Of the model `before` training and of that `after` it, every pair of different units, the
        one nearer the input first.

    Raises:
        TTLError: if an option is out of range, or features are not finite.
    """
    check_variance(options.variance)
    names = run.units(options.units)
    pairs = list(itertools.combinations(names, 2))
    models = {"before": run.before.backbone, "after": run.after.backbone}
    moments = {key: Moments(pairs) for key in models}
    grids: dict[str, Grid] = {}
    with torch.no_grad():
        for batch in run.batches(options.split, options.most):
            for key, backbone in models.items():
                maps = dict(backbone.features(batch["image"]))
                moments[key].update(maps)
                grids = {unit: tuple(maps[unit].shape[2:]) for unit in names}
    return {key: related(seen, grids, options.variance) for key, seen in moments.items()}


def related(moments: Moments, grids: Mapping[str, Grid], variance: float) -> dict[Pair, Similarity]:
    """Similarities of all pairs; a unit's components at one grid are computed once.

    Args:
        moments: of the pairs.
        grids: the spatial size of each unit's map.
        variance: see `similarity`.
    """
    bases: dict[tuple[str, Grid], Basis] = {}
    found: dict[Pair, Similarity] = {}
    for a, b in moments.pairs:
        seen = moments.pair(a, b)
        grid = shared_grid(grids[a], grids[b])
        for unit, covariance in ((a, seen.xx), (b, seen.yy)):
            if (unit, grid) not in bases:
                bases[unit, grid] = whiten(covariance, variance)
        found[a, b] = relate(bases[a, grid], bases[b, grid], seen.xy, seen.n)
    return found


def report(run: OpenRun, options: Options) -> Findings:
    """Table and figure of `cross`."""
    units = run.units(options.units)
    if len(units) < 2:
        raise DataError(f"{run.title} has one unit only: there is no pair to compare.")
    found = cross(run, options)
    rows: list[dict[str, Any]] = [{"first": a, "second": b} for a, b in found["before"]]
    for when, pairs in found.items():
        for row, similarity in zip(rows, pairs.values(), strict=True):
            row |= _columns(when, similarity)
    panels = {f"{when} training": _matrix(units, rows, f"{when}_excess") for when in found}
    figure = matrices(units, panels, "excess over chance")
    figure.suptitle(run.title)
    known = [row for row in rows if None not in (row["before_excess"], row["after_excess"])]
    headline = "no pair of units could be compared."
    if known:
        line = max(known, key=lambda row: abs(row["after_excess"] - row["before_excess"]))
        headline = (
            f"training changed {line['first']} and {line['second']} most: "
            f"{line['before_excess']:.2f} of what chance leaves before, "
            f"{line['after_excess']:.2f} after."
        )
    return Findings(headline, rows, {"units": list(units)}, {"": figure})


def _columns(when: str, found: Similarity) -> dict[str, Any]:
    reuse = UnitTransfer.of("", found).reuse
    return {
        f"{when}_mean": found.mean,
        f"{when}_pwcca": found.pwcca,
        f"{when}_random_mean": reuse.random_mean,
        f"{when}_excess": known_excess(reuse),
        f"{when}_retained_first": found.retained[0],
        f"{when}_retained_second": found.retained[1],
        f"{when}_n": found.n,
    }


def _matrix(units: tuple[str, ...], rows: list[dict[str, Any]], column: str) -> Floats:
    """Symmetric, with ones on the diagonal and NaN where undefined."""
    matrix = np.eye(len(units))
    for row in rows:
        i, j = units.index(row["first"]), units.index(row["second"])
        matrix[i, j] = matrix[j, i] = np.nan if row[column] is None else row[column]
    return matrix

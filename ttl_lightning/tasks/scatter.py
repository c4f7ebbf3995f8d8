"""Predicted numbers over the true ones, a panel a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ttl_lightning.metrics.regression import Numbers, score

SHOWN = ("val", "test")


def scatter_figure(splits: Mapping[str, Numbers], targets: Sequence[str]) -> Figure:
    """A point a sample and split, and the line on which predictions are true.

    Args:
        splits: predictions by split.
        targets: one for each of their columns.
    """
    figure = Figure(figsize=(4.2 * len(targets), 4.2), layout="constrained")
    panels = figure.subplots(1, len(targets), squeeze=False)[0]
    for place, (axes, name) in enumerate(zip(panels, targets, strict=True)):
        every = []
        for color, split in zip(("C7", "C0"), SHOWN, strict=True):
            if split not in splits:
                continue
            table = splits[split]
            known = ~np.isnan(table.true[:, place])
            true, predicted = table.true[known, place], table.predicted[known, place]
            every += [true, predicted]
            one = Numbers(table.ids[known], predicted[:, None], true[:, None])
            r2 = score(one, (name,)).values["r2"]
            said = "" if r2 is None else f", R² {r2:.3f}"
            axes.scatter(
                true, predicted, s=9, alpha=0.5, color=color, linewidths=0, label=f"{split}{said}"
            )
        values = np.concatenate(every) if every else np.zeros(1)
        ends = (
            (values.min(initial=0), values.max(initial=0))
            if not len(values)
            else (values.min(), values.max())
        )
        axes.plot(ends, ends, color="0.3", linewidth=1, linestyle="--", label="true")
        axes.set_xlabel(f"{name}, true")
        axes.set_ylabel(f"{name}, predicted")
        axes.legend(frameon=False, fontsize=8)
    return figure

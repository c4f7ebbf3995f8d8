"""Where to cut, from one full finetuning: the last unit whose features it keeps.

Source: the paper's five steps; the rule is `analysis/detection.py`.
"""

from __future__ import annotations

from dataclasses import asdict

from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.interpret.commands.figures import curves
from ttl_lightning.interpret.commands.findings import Findings
from ttl_lightning.interpret.commands.options import Detect as Options
from ttl_lightning.interpret.commands.transfer import UnitTransfer, compare_halves, row
from ttl_lightning.interpret.defaults import CHOOSING
from ttl_lightning.interpret.detection import Detection, detect, error_between
from ttl_lightning.runs.open import OpenRun


def detect_cutoff(run: OpenRun, options: Options) -> tuple[Detection, list[UnitTransfer]]:
    """Apply the rule to a full finetuning.

    Raises:
        ConfigError: if the run is not of full finetuning.
        TTLError: if an option is out of range, or no unit can be scored.
    """
    check_choice("split", options.split, CHOOSING)
    if run.result.strategy != "ftl":
        raise ConfigError(
            f"a cutoff is detected from full finetuning (strategy=ftl), and {run.folder} holds "
            f"strategy={run.result.strategy}."
        )
    candidates = run.units(options.units)
    found, halves = compare_halves(run, options)
    reuse, first, second = ({u.unit: u.reuse for u in units} for units in (found, *halves))
    error = error_between(first, second, options.statistic)
    return detect(reuse, options.threshold, options.statistic, candidates, error), found


def report(run: OpenRun, options: Options) -> Findings:
    """Table, curve and choice of `detect_cutoff`."""
    chosen, found = detect_cutoff(run, options)
    units = [unit.unit for unit in found]
    figure = curves(
        units,
        {
            f"{chosen.statistic} over random features": list(chosen.scores.values()),
            "mean correlation": [unit.similarity.mean for unit in found],
            "mean of random features": [unit.reuse.random_mean for unit in found],
        },
        "similarity before and after training",
        threshold=chosen.threshold,
        chosen=chosen.unit,
    )
    figure.suptitle(run.title)
    rows = [
        {**row(unit), "score": chosen.scores[unit.unit], "note": chosen.notes.get(unit.unit, "")}
        for unit in found
    ]
    headline = f"cut at {chosen.unit} (strategy=ttl cutoff={chosen.unit}): {chosen.reason}"
    content = {"detection": asdict(chosen), "options": asdict(options)}
    return Findings(headline, rows, content, {"": figure})

"""What a reader has to know to read a section's table, in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ttl_lightning.report.headline import title
from ttl_lightning.report.methods import Group, run_cost
from ttl_lightning.report.rows import Row
from ttl_lightning.report.statistics import RESAMPLES
from ttl_lightning.report.stem import stem_note
from ttl_lightning.report.text import count


def notes(group: Group, rows: Sequence[Row]) -> list[str]:
    """Sentences for below the table: what its numbers are, and what is missing from it."""
    found = [
        "Scores are means over seeds ± sample standard deviation. The best mean of a column is "
        f"bold. {_latency(rows)}",
        _images(rows),
        _tests(rows),
    ]
    for row in rows:
        name = title(row.method)
        found += [f"{name}: {problem}" for problem in row.problems]
        dominated = {stem_note(run.result.complexity) for run in row.method.runs} - {""}
        found += [f"{name}: {note}" for note in sorted(dominated)]
        seeds = {comparison.seeds for comparison in row.comparisons.values()}
        if seeds - {len(row.method.runs)}:
            found.append(f"{name}: compared over {count(min(seeds), 'seed')}, which both have.")
    shown = {(row.method.strategy, row.method.variant) for row in rows}
    left = {m.label for m in group.methods if (m.strategy, m.variant) not in shown}
    found += [f"{name}: no run has a validation AUPRC to choose by." for name in sorted(left)]
    if group.repeated:
        found.append(
            f"{count(len(group.repeated), 'run')} left out, as another folder has the same method "
            f"and seed: {', '.join(group.repeated)}."
        )
    return [note for note in found if note]


def _latency(rows: Sequence[Row]) -> str:
    measured = [
        run.result.complexity["latency_ms"]["cpu"]
        for row in rows
        for run in row.method.runs
        if run_cost(run.result, "latency_ms") is not None
    ]
    settings = {(str(cpu.get("batch_size")), str(cpu.get("threads"))) for cpu in measured}
    if not settings:
        return ""
    text = "Latency is the median over seeds, timed in each run beside whatever else ran then"
    if len(settings) > 1:
        return f"{text}, and not all with the same batch size and threads."
    batch, threads = settings.pop()
    return f"{text} (batch size {batch}, threads: {threads})."


def _images(rows: Sequence[Row]) -> str:
    sizes = list(dict.fromkeys(row.images for row in rows if row.images))
    if not sizes:
        return "The number of test samples is unknown: no predictions could be read."
    if len(sizes) == 1:
        return f"{sizes[0]}."
    return "; ".join(f"{title(row.method)}: {row.images or 'unknown'}" for row in rows) + "."


def _tests(rows: Sequence[Row]) -> str:
    if not any(row.baseline for row in rows):
        return "No differences: there is no completed full finetuning (strategy=ftl) beside others."
    return (
        "Differences are those of the means over seeds, paired by test sample: of AUROC by "
        f"DeLong's test, of AUPRC by a bootstrap of the samples ({RESAMPLES} resamples). They say "
        "what other test samples of the same source might change, not what training anew might "
        "(for this see the ±), and p-values are not corrected for the number of rows."
    )

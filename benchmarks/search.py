"""What each search costs and what it misses, replayed on sweeps that trained every cutoff.

    python -m ttl_lightning -m hydra/sweeper=exhaustive strategy=ttl seed=0,1,2 name=all data=…
    python benchmarks/search.py multirun/all …

A paused run goes on to the same result as one that never stopped, so what a
search would have seen after some epochs stands in the `metrics.csv` of the whole training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from smoke import every_cutoff, small_sweep

from ttl_lightning.records import history
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.report.collect import Run, collect
from ttl_lightning.search import Exhaustive, Halving, Hierarchical, Incremental, Method, search

Key = tuple[str, str, str]
# A backward pass costs two forward passes; frozen units, which need less, are counted alike.
PASSES = 3


@dataclass(frozen=True)
class Candidate:
    """A cutoff's best score so far after each epoch, a row a seed, and what an epoch costs."""

    scores: list[list[float]]
    epoch_macs: float
    params: float

    def of_seed(self, number: int) -> Candidate:
        """The same, had only one seed been trained."""
        return Candidate([self.scores[number]], self.epoch_macs / len(self.scores), self.params)

    def after(self, epochs: int | None) -> list[float]:
        """One score a seed."""
        return [row[-1] if epochs is None else row[epochs - 1] for row in self.scores]


def candidate(runs: list[Run], root: Path, metric: str) -> Candidate:
    """Read the runs of a cutoff, one a seed."""
    curves, images = [], 0.0
    for run in runs:
        rows = history.read(RunFolder(root / run.folder).history)
        best = [max(row[metric] for row in rows[: k + 1]) for k in range(len(rows))]
        curves.append(best)
        images = rows[0]["images"]
    cost = runs[0].result.complexity
    return Candidate(curves, PASSES * cost["macs"] * images * len(runs), cost["params"])


def methods(strategy: str, epochs: int) -> dict[str, Method]:
    """What is compared, by the name it has in the table."""
    table: dict[str, Method] = {
        "exhaustive": Exhaustive(),
        "hierarchical": Hierarchical(),
        "hierarchical radius=1": Hierarchical(1),
    }
    for eta, first in ((4, 1), (2, 1), (3, 1), (3, 2), (4, 2)):
        table[f"halving eta={eta} min_epochs={first}"] = Halving(epochs, eta, first)
    table["halving eta=4 radius=all"] = Halving(epochs, 4, radius="all")
    if strategy == "lwft":
        table["incremental"] = Incremental()
    return table


def replay(method: Method, table: Mapping[str, Candidate]) -> tuple[str, float]:
    """The choice, and the training MACs that it took."""
    trained = dict.fromkeys(table, 0)

    def evaluate(name: str, epochs: int | None = None) -> list[float]:
        whole = len(table[name].scores[0])
        trained[name] = max(trained[name], whole if epochs is None else epochs)
        return table[name].after(epochs)

    sizes = {name: entry.params for name, entry in table.items()}
    choice = search(list(table), evaluate, method, sizes).choice
    assert choice is not None  # every run was completed
    return choice, sum(epochs * table[name].epoch_macs for name, epochs in trained.items())


def tables(root: Path, metric: str) -> Iterator[tuple[Key, dict[str, Candidate], list[Run]]]:
    """For each data set, backbone and strategy the candidates, and the runs of the last of them."""
    runs: dict[Key, dict[tuple[int, str], list[Run]]] = {}
    for run in collect(root).having("completed"):
        result = run.result
        if result.cutoff is not None:
            key = (result.data, result.backbone, result.strategy)
            place = (result.cutoff_index or 0, result.cutoff)
            runs.setdefault(key, {}).setdefault(place, []).append(run)
    for key, groups in runs.items():
        order = sorted(groups)
        table = {name: candidate(groups[k, name], root, metric) for k, name in order}
        yield key, table, sorted(groups[order[-1]], key=lambda run: run.result.seed)


def report(root: Path, metric: str) -> None:
    """Print the tables of a sweep."""
    for key, table, _ in tables(root, metric):
        seeds = {len(entry.scores) for entry in table.values()}
        finals = {name: fmean(entry.after(None)) for name, entry in table.items()}
        best = max(finals.values())
        epochs = len(next(iter(table.values())).scores[0])
        print(
            f"\n{' · '.join(key)}: {len(table)} cutoffs, {seeds} seeds, {epochs} epochs, {metric}\n"
        )
        print("| search | choice | regret | training MACs | of two-stage | regrets with one seed |")
        print("|---|---|---|---|---|---|")
        replayed = {name: replay(m, table) for name, m in methods(key[2], epochs).items()}
        stages = replayed["hierarchical"][1]
        for name, (choice, cost) in replayed.items():
            numbers = f"{best - finals[choice]:.4f} | {cost:.2e} | {cost / stages:.2f}"
            method = methods(key[2], epochs)[name]
            alone = [
                replay(method, {c: entry.of_seed(k) for c, entry in table.items()})[0]
                for k in range(min(seeds))
            ]
            regrets = ", ".join(f"{best - finals[c]:.4f}" for c in alone)
            print(f"| {name} | {choice} | {numbers} | {regrets} |")


def main() -> None:
    """Replay the searches on every sweep given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sweeps", type=Path, nargs="*", help="folders of exhaustive sweeps")
    parser.add_argument("--smoke", action="store_true", help="on a sweep of a tiny network")
    parser.add_argument("--metric", default="val/auprc")
    arguments = parser.parse_args()
    for root in arguments.sweeps:
        report(root, arguments.metric)
    if arguments.smoke:
        with small_sweep(*every_cutoff()) as root:
            report(root, arguments.metric)


if __name__ == "__main__":
    main()

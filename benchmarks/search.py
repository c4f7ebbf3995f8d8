"""What each search costs and what it misses, replayed on sweeps that trained every cutoff.

    python -m ttl_lightning -m hydra/sweeper=exhaustive strategy=ttl seed=0,1,2 name=all data=…
    python benchmarks/search.py multirun/all …

A paused run goes on to the same result as one that never stopped, so what a
search would have seen after some epochs stands in the `metrics.csv` of the whole training.

Costs are in trainings of the whole network: all that the search takes, and what it takes beside the
training of its choice. Regret is what the choice's mean score misses of the best, with the standard
error of that difference over the seeds; the best of many is the luckiest, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

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

    @property
    def macs(self) -> float:
        """Of its whole trainings."""
        return self.epoch_macs * len(self.scores[0])


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
    """The choice, and the trainings of the last candidate, the whole network, that it took."""
    trained = dict.fromkeys(table, 0)

    def evaluate(name: str, epochs: int | None = None) -> list[float]:
        last = len(table[name].scores[0])
        trained[name] = max(trained[name], last if epochs is None else epochs)
        return table[name].after(epochs)

    sizes = {name: entry.params for name, entry in table.items()}
    choice = search(list(table), evaluate, method, sizes).choice
    assert choice is not None  # every run was completed
    spent = sum(epochs * table[name].epoch_macs for name, epochs in trained.items())
    return choice, spent / whole(table).macs


def whole(table: Mapping[str, Candidate]) -> Candidate:
    """The last cutoff: nothing is cut off."""
    return list(table.values())[-1]


def beside(choice: str, cost: float, table: Mapping[str, Candidate]) -> float:
    """What a search costs beside the training of its choice."""
    return cost - table[choice].macs / whole(table).macs


def regret(choice: str, table: Mapping[str, Candidate]) -> str:
    """What the choice misses of the best, and the standard error over the seeds."""
    top = max(table, key=lambda name: fmean(table[name].after(None)))
    pairs = zip(table[top].after(None), table[choice].after(None), strict=True)
    missed = [one - other for one, other in pairs]
    error = stdev(missed) / len(missed) ** 0.5 if len(missed) > 1 else float("nan")
    return f"{fmean(missed):.4f} ± {error:.4f}"


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
        print("| search | choice | regret | all | beside the choice's | regret with one seed |")
        print("|---|---|---|---|---|---|")
        for name, method in methods(key[2], epochs).items():
            choice, cost = replay(method, table)
            alone = [
                replay(method, {c: entry.of_seed(k) for c, entry in table.items()})[0]
                for k in range(min(seeds))
            ]
            missed = fmean(best - finals[c] for c in alone)
            more = beside(choice, cost, table)
            cells = (name, choice, regret(choice, table), f"{cost:.2f}", f"{more:.2f}")
            print(f"| {' | '.join(cells)} | {missed:.4f} |")


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

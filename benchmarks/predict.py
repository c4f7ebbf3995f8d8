"""How well what costs little ranks the cutoffs, beside sweeps that trained every one of them.

    python -m ttl_lightning -m hydra/sweeper=exhaustive strategy=ttl seed=0,1,2 name=all data=…
    python benchmarks/predict.py multirun/all …

Three kinds of hints, one each seed: linear probes of the pretrained network; the same, and SVCCA,
after a short full finetuning (2 epochs of the whole schedule); heads at every cutoff, trained
together in one full finetuning, short or whole. They are kept in the sweep's `predict.json`. What
each costs is counted in trainings of the whole network beside that of the choice: three forward
passes an image and epoch trained, one an image looked at. Of each hint the best cutoff is taken, or
the best few race, each for so many epochs, before one is trained to the end.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from search import PASSES, Candidate, beside, regret, replay, tables
from sklearn.metrics import average_precision_score
from smoke import every_cutoff, small_sweep
from torch import Tensor, nn

from ttl_lightning.interpret.commands.options import Images
from ttl_lightning.interpret.commands.transfer import compare
from ttl_lightning.interpret.commands.transfer import row as of_unit
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.probes import pooled_features
from ttl_lightning.records import history
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.runs.open import OpenRun, open_run
from ttl_lightning.search import Predicted
from ttl_lightning.tasks.losses import kind_of
from ttl_lightning.tasks.probes import probe_units

METRIC = "val/auprc"
SHORT = 2
JOINT = (SHORT, None)
PROBE = "probe"
PROBE_SHORT = f"probe after {SHORT} epochs"
SVCCA_SHORT = f"SVCCA after {SHORT} epochs"
Scores = dict[str, float]
Table = dict[str, Candidate]
# how many race, one in how many is kept, and epochs of the first rung
Race = tuple[int, int, int]


def joint(epochs: int | None) -> str:
    """Name of the hint."""
    return f"joint heads, {epochs or 'all'} epochs"


class Heads(nn.Module):
    """A backbone with a linear head on the pooled map of every unit, or of the last alone."""

    def __init__(self, backbone: Backbone, images: Tensor, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.no_grad():
            widths = {name: x.shape[1] for name, x in backbone.eval().features(images)}
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths.values())
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)  # as protocol.head_init has it

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of every head, `(N, classes)` each."""
        maps = [x.flatten(2).mean(2) for _, x in self.backbone.features(x)]
        return [head(pooled) for head, pooled in zip(self.heads, maps, strict=True)]


def finetune(
    run: OpenRun,
    epochs: int,
    until: int,
    loss: Callable[[Heads, Tensor, Tensor], Tensor],
    after: Callable[[Heads, int], None],
) -> None:
    """The run's own protocol with another loss, until an epoch of a schedule of so many."""
    cfg = OmegaConf.load(run.folder / "config.yaml")
    torch.manual_seed(run.result.seed)
    first = next(run.batches("val"))["image"][:2]
    model = Heads(copy.deepcopy(run.before.backbone), first, run.data.num_classes).to(run.device)
    loader = run.data.train_dataloader()
    batches = limited(cfg.trainer.limit_train_batches, len(loader))
    optimizer = instantiate(cfg.protocol.optimizer)(
        model.parameters(), lr=cfg.protocol.learning_rate
    )
    scheduler = instantiate(cfg.protocol.scheduler)(optimizer, total_steps=epochs * batches)
    for epoch in range(1, until + 1):
        model.train()
        for batch in islice(loader, batches):
            value = loss(model, batch["image"].to(run.device), batch["label"].to(run.device))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            scheduler.step()
        after(model.eval(), epoch)


def limited(limit: float, batches: int) -> int:
    """Batches of an epoch, as Lightning reads a share or a number."""
    return int(limit * batches) if isinstance(limit, float) else min(limit, batches)


def of_all(model: Heads, images: Tensor, labels: Tensor) -> Tensor:
    """The sum of all heads' losses."""
    return torch.stack([F.cross_entropy(logits, labels) for logits in model(images)]).sum()


def of_last(model: Heads, images: Tensor, labels: Tensor) -> Tensor:
    """What full finetuning minimises."""
    pooled = model.backbone(images).flatten(2).mean(2)
    return F.cross_entropy(model.heads[-1](pooled), labels)


def hints(run: OpenRun) -> dict[str, Scores]:
    """Everything that is compared, by cutoff, higher is better."""
    found = {PROBE: probed(run, run.before.backbone)}

    def after_short(model: Heads, epoch: int) -> None:
        if epoch == SHORT:
            found[PROBE_SHORT] = probed(run, model.backbone)
            short = copy.copy(run.before)
            short.backbone = model.backbone
            rows = map(of_unit, compare(dataclasses.replace(run, after=short), Images("val")))
            found[SVCCA_SHORT] = {row["unit"]: row["excess"] for row in rows}

    epochs = int(run.result.train["epochs"])
    finetune(run, epochs, SHORT, of_last, after_short)
    for until in JOINT:
        best: Scores = dict.fromkeys(run.before.backbone.cutoffs, 0.0)

        def after_joint(model: Heads, _: int, best: Scores = best) -> None:
            for unit, score in headed(run, model).items():
                best[unit] = max(best[unit], score)

        finetune(run, until or epochs, until or epochs, of_all, after_joint)
        found[joint(until)] = best
    return found


def probed(run: OpenRun, backbone: Backbone) -> Scores:
    """Validation AUPRC of linear probes."""
    splits = {split: run.batches(split) for split in ("train", "val")}
    found = probe_units(backbone, splits, kind_of(run.data))
    return {unit: result.metrics[METRIC] for unit, result in found.items()}


def headed(run: OpenRun, model: Heads) -> dict[str, float]:
    """Validation AUPRC of every head."""
    pooled = pooled_features(model.backbone, (batch["image"] for batch in run.batches("val")))
    labels = np.asarray(run.data.labels("val"))
    # class 1 of two, else the mean over those that are there
    classes = [1] if run.data.num_classes == 2 else np.unique(labels)
    scores = {}
    for (unit, features), head in zip(pooled.items(), model.heads, strict=True):
        with torch.no_grad():
            logits = head(torch.tensor(features, dtype=torch.float32, device=run.device))
        of_classes = logits.softmax(1).cpu().numpy()
        each = [average_precision_score(labels == c, of_classes[:, c]) for c in classes]
        scores[unit] = fmean(map(float, each))
    return scores


def collected(root: Path, last: list[Path]) -> dict[str, Any]:
    """`predict.json`, made unless it is there: images of a split; by hint and cutoff the seeds'."""
    kept = root / "predict.json"
    if not kept.exists():
        found = []
        for folder in last:
            print(f"hints of {folder}", flush=True)
            run = open_run(folder)
            found.append(hints(run))
        table = {
            name: {unit: [of[name][unit] for of in found] for unit in found[0][name]}
            for name in found[0]
        }
        images = {split: len(run.data.labels(split)) for split in ("train", "val")}
        kept.write_text(json.dumps({"images": images, "hints": table}))
    loaded: dict[str, Any] = json.loads(kept.read_text())
    return loaded


def costs(train: int, val: int, images: float, epochs: int) -> dict[str, float]:
    """Of each hint, in trainings of the whole network.

    Args:
        train: images of the split.
        val: likewise.
        images: that an epoch trains on.
        epochs: of a whole training.
    """
    training = PASSES * images * epochs
    short, look = SHORT / epochs, (train + val) / training
    together = {joint(n): (n or epochs) / epochs * (1 + val / (PASSES * images)) for n in JOINT}
    return {
        PROBE: look,
        PROBE_SHORT: short + look,
        SVCCA_SHORT: short + 2 * val / training,
        **together,
    }


def report(root: Path) -> None:
    """Print the sweep's table."""
    ((key, table, runs),) = tables(root, METRIC)
    finals = {name: fmean(entry.after(None)) for name, entry in table.items()}
    epochs, seeds = len(next(iter(table.values())).scores[0]), len(runs)
    found = collected(root, [root / run.folder for run in runs])
    images = history.read(RunFolder(root / runs[0].folder).history)[0]["images"]
    spent = costs(found["images"]["train"], found["images"]["val"], images, epochs)
    print(f"\n{' · '.join(key)}: {len(table)} cutoffs, {seeds} seeds, {epochs} epochs, {METRIC}\n")
    print("| hint | Spearman | race | choice | regret | cost | regret, cost with one seed |")
    print("|---|---|---|---|---|---|---|")
    for hint, by_unit in found["hints"].items():
        scores = {unit: fmean(by_unit[unit]) for unit in table}
        rho = spearmanr([scores[unit] for unit in table], [finals[unit] for unit in table])[0]
        for name, race in races(epochs).items():
            choice, cost = raced(table, scores, race)
            alone = [one_seed(table, by_unit, k, race) for k in range(seeds)]
            missed = fmean(max(finals.values()) - finals[choice] for choice, _ in alone)
            each = f"{missed:.4f}, {fmean(cost for _, cost in alone) + spent[hint]:.2f}"
            cells = (hint, f"{rho:.2f}", name, choice, regret(choice, table))
            print(f"| {' | '.join(cells)} | {cost + spent[hint]:.2f} | {each} |")


def races(epochs: int) -> dict[str, Race]:
    """What is compared: how many race, and for how long; the default among them."""
    third = max(1, epochs // 3)
    pairs = dict.fromkeys([(1, 1), (3, 1), (2, third), (3, third), (6, third)])
    return {f"{n} for {until}" if n > 1 else "none": (n, n, until) for n, until in pairs}


def raced(table: Table, scores: Mapping[str, float], race: Race) -> tuple[str, float]:
    """The choice, and its cost beside the choice's own training."""
    keep, eta, first = race
    epochs = len(next(iter(table.values())).scores[0])
    choice, cost = replay(Predicted(scores, epochs, keep, max(eta, 2), first), table)
    return choice, beside(choice, cost, table)


def one_seed(
    table: Table, hinted: Mapping[str, list[float]], seed: int, race: Race
) -> tuple[str, float]:
    """The same with one seed's hints and trainings alone."""
    scores = {unit: values[seed] for unit, values in hinted.items()}
    return raced({c: e.of_seed(seed) for c, e in table.items()}, scores, race)


def main() -> None:
    """Compare the hints on every sweep given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sweeps", type=Path, nargs="*", help="folders of exhaustive sweeps")
    parser.add_argument("--smoke", action="store_true", help="on a sweep of a tiny network")
    options = parser.parse_args()
    for root in options.sweeps:
        report(root)
    if options.smoke:
        with small_sweep(*every_cutoff()) as root:
            report(root)


if __name__ == "__main__":
    main()

"""How well what costs little ranks the cutoffs, beside sweeps that trained every one of them.

    python -m ttl_lightning -m hydra/sweeper=exhaustive strategy=ttl seed=0,1,2 name=all data=…
    python benchmarks/predict.py multirun/all …

Three kinds of hints, one each seed: linear probes of the pretrained network; the same, and SVCCA,
after a short full finetuning (2 epochs of the whole schedule); heads at every cutoff, trained
together in one full finetuning. They are kept in the sweep's `predict.json`. What each costs is
counted in multiply-accumulates: three forward passes an image and epoch trained, one an image
looked at.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from search import PASSES, Candidate, methods, replay, tables
from sklearn.metrics import average_precision_score
from smoke import every_cutoff, small_sweep
from torch import Tensor, nn

from ttl_lightning.interpret.commands.options import Images
from ttl_lightning.interpret.commands.transfer import compare
from ttl_lightning.interpret.commands.transfer import row as of_unit
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.probes import pooled_features
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

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of every head, `(N, classes)` each."""
        maps = [x.flatten(2).mean(2) for _, x in self.backbone.features(x)]
        return [head(pooled) for head, pooled in zip(self.heads, maps, strict=True)]


def finetune(
    run: OpenRun,
    until: int,
    loss: Callable[[Heads, Tensor, Tensor], Tensor],
    after: Callable[[Heads, int], None],
) -> None:
    """The run's own protocol, with another loss, for some of its epochs."""
    cfg = OmegaConf.load(run.folder / "config.yaml")
    torch.manual_seed(run.result.seed)
    first = next(run.batches("val"))["image"][:2]
    model = Heads(copy.deepcopy(run.before.backbone), first, run.data.num_classes).to(run.device)
    loader = run.data.train_dataloader()
    optimizer = instantiate(cfg.protocol.optimizer)(
        model.parameters(), lr=cfg.protocol.learning_rate
    )
    steps = int(cfg.trainer.max_epochs) * len(loader)
    scheduler = instantiate(cfg.protocol.scheduler)(optimizer, total_steps=steps)
    for epoch in range(1, until + 1):
        model.train()
        for batch in loader:
            value = loss(model, batch["image"].to(run.device), batch["label"].to(run.device))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            scheduler.step()
        after(model.eval(), epoch)


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

    finetune(run, SHORT, of_last, after_short)
    best: Scores = dict.fromkeys(run.before.backbone.cutoffs, 0.0)
    epochs = int(run.result.train["epochs"])

    def after_joint(model: Heads, epoch: int) -> None:
        for unit, score in headed(run, model).items():
            best[unit] = max(best[unit], score)
        for until in JOINT:
            if epoch == (until or epochs):
                found[joint(until)] = dict(best)

    finetune(run, epochs, of_all, after_joint)
    return found


def probed(run: OpenRun, backbone: Backbone) -> Scores:
    """Validation AUPRC of linear probes."""
    splits = {split: run.batches(split) for split in ("train", "val")}
    found = probe_units(backbone, splits, kind_of(run.data))
    return {unit: result.metrics[METRIC] for unit, result in found.items()}


def headed(run: OpenRun, model: Heads) -> dict[str, float]:
    """Validation AUPRC of every head."""
    pooled = pooled_features(model.backbone, (batch["image"] for batch in run.batches("val")))
    labels = run.data.labels("val")
    scores = {}
    for (unit, features), head in zip(pooled.items(), model.heads, strict=True):
        with torch.no_grad():
            logits = head(torch.tensor(features, dtype=torch.float32, device=run.device))
        scores[unit] = float(average_precision_score(labels, logits.softmax(1)[:, 1].cpu()))
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
    return json.loads(kept.read_text())


def costs(full: float, train: int, val: int, epochs: int) -> dict[str, float]:
    """Multiply-accumulates of each hint for one seed.

    Args:
        full: those of the whole network for one image, forward.
        train: images of the split.
        val: likewise.
        epochs: of a whole training.
    """
    short, look = full * PASSES * train * SHORT, full * (train + val)
    together = {joint(n): full * (PASSES * train + val) * (n or epochs) for n in JOINT}
    return {PROBE: look, PROBE_SHORT: short + look, SVCCA_SHORT: short + 2 * full * val, **together}


def report(root: Path) -> None:
    """Print the sweep's table."""
    ((key, table, runs),) = tables(root, METRIC)
    finals = {name: fmean(entry.after(None)) for name, entry in table.items()}
    top, epochs, seeds = max(finals.values()), len(next(iter(table.values())).scores[0]), len(runs)
    stages = replay(methods(key[2], epochs)["hierarchical"], table)[1]
    found = collected(root, [root / run.folder for run in runs])
    spent = costs(runs[0].result.complexity["macs"], *found["images"].values(), epochs)
    print(f"\n{' · '.join(key)}: {len(table)} cutoffs, {seeds} seeds, {epochs} epochs, {METRIC}\n")
    print("| hint | Spearman | its best | regret | cost | raced | regret | cost | with one seed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for hint, by_unit in found["hints"].items():
        scores = {unit: fmean(by_unit[unit]) for unit in table}
        rho = spearmanr([scores[unit] for unit in table], [finals[unit] for unit in table])[0]
        cells = [hint, f"{rho:.2f}"]
        for keep in (0.0, 0.5):
            choice, cost = replay(Predicted(scores, epochs, keep), table)
            share = (cost + spent[hint] * seeds) / stages
            cells += [choice, f"{top - finals[choice]:.4f}", f"{share:.2f}"]
        alone = [one_seed(table, by_unit, k, epochs) for k in range(seeds)]
        cells.append(", ".join(f"{top - finals[choice]:.4f}" for choice in alone))
        print(f"| {' | '.join(cells)} |")


def one_seed(table: Table, hinted: Mapping[str, list[float]], seed: int, epochs: int) -> str:
    """The choice of the race with one seed's hints and trainings alone."""
    scores = {unit: values[seed] for unit, values in hinted.items()}
    return replay(Predicted(scores, epochs), {c: e.of_seed(seed) for c, e in table.items()})[0]


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

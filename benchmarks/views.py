"""What a finished run's scores are when evaluation reads its images in other ways.

    python -m ttl_lightning -m strategy=ftl,ttl seed=0,1,2 name=views data=…
    python benchmarks/views.py multirun/views … [--tta 5 9] [--scales 0.8 1.0] [--out views.json]

Nothing is trained: the model of each run's best epoch predicts validation and test under every way
of reading. `center_crop`, `train_scale` and `whole` are the values of data.eval_view; `scale s`
reads the centre's s of each side; `whole matched` reads all of the stored image into a larger
input, in which things are as large as in the training crops, for heads that pool; `tta n` is the
mean of n views' probabilities, the first of which is data.eval_view=train_scale.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from smoke import small_sweep

from ttl_lightning.data.transforms import Transform
from ttl_lightning.data.views.evaluation import (
    EVAL_VIEWS,
    EvalTransform,
    SeveralViews,
    evaluation,
    mean_scale,
)
from ttl_lightning.metrics.classification import score
from ttl_lightning.records.folder import SweepFolder
from ttl_lightning.runs.open import OpenRun, open_run
from ttl_lightning.tasks.losses import class_probabilities, kind_of, mean_over_views
from ttl_lightning.tasks.studies import by_study

COLUMNS = (
    "val/auroc",
    "val/auprc",
    "val/specificity",
    "test/auroc",
    "test/auprc",
    "test/specificity",
)
Scores = dict[str, float | None]


def main() -> None:
    """Score every run and print the means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="runs, or sweeps of them")
    parser.add_argument("--smoke", action="store_true", help="on a run of a tiny network")
    parser.add_argument("--tta", nargs="*", type=int, default=[5, 9], help="numbers of views")
    parser.add_argument("--scales", nargs="*", type=float, default=[0.8, 0.85, 0.95])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the data")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a .json file with the scores of every run")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.smoke:
        measure(options.folders, options)
        return
    with small_sweep(["strategy=ftl"]) as sweep:
        measure([sweep], options)


def measure(folders: Sequence[Path], options: argparse.Namespace) -> None:
    """Score every run and print the means over seeds."""
    rows: list[dict[str, Any]] = []
    for folder in run_folders(folders):
        run = open_run(folder, options.set, device="cpu")
        for name, transform in strategies(run, options.scales, options.tta).items():
            scores = {
                f"{split}/{key}": value
                for split in ("val", "test")
                for key, value in scored(run, split, transform).items()
            }
            rows.append({**described(run), "view": name, **scores})
        print(f"{len(rows)} rows, {run.title}", flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1))
    print("\n" + table(rows))


def run_folders(folders: Sequence[Path]) -> Iterator[Path]:
    """Folders of completed runs, at or below those given."""
    for folder in folders:
        for run in SweepFolder(folder).runs():
            if json.loads(run.result.read_text()).get("status") == "completed":
                yield run.path


def strategies(run: OpenRun, scales: Sequence[float], views: Sequence[int]) -> dict[str, Transform]:
    """Ways of reading, by name."""
    data = run.data
    common = (data.mean, data.std)
    side, augment = data.view.side, data.augment
    found: dict[str, Transform] = {
        view: evaluation(view, augment, side, *common) for view in EVAL_VIEWS
    }
    if run.after.head.pooling:
        matched = round(side / mean_scale(augment))
        found["whole matched"] = EvalTransform(matched, *common, 1.0)
    for scale in scales:
        found[f"scale {scale:g}"] = EvalTransform(side, *common, scale)
    for count in views:
        first = evaluation("train_scale", augment, side, *common)
        found[f"tta {count}"] = SeveralViews(first, augment, count)
    return found


@torch.no_grad()
def scored(run: OpenRun, split: str, transform: Transform) -> Scores:
    """Metrics of a split that is read by the transform."""
    task, names = kind_of(run.data), run.data.class_names
    rows: dict[str, list[np.ndarray[Any, Any]]] = defaultdict(list)
    for batch in run.data.plain_dataloader(split, transform):
        views = batch["views"] if "views" in batch else batch["image"][:, None]
        logits = run.after(views.flatten(0, 1)).reshape(*views.shape[:2], -1)
        rows["probabilities"].append(
            class_probabilities(mean_over_views(logits, task), task).numpy()
        )
        for key in ("label", "study", "study_label"):
            if key in batch:
                rows[key].append(batch[key].numpy())
    columns = {key: np.concatenate(parts) for key, parts in rows.items()}
    probabilities, labels = columns["probabilities"], columns["label"]
    if "study" in columns:
        studies = by_study(probabilities, columns["study"], columns["study_label"], task)
        probabilities, labels = studies.probabilities, studies.labels
    return score(probabilities, labels, task, names).values


def described(run: OpenRun) -> dict[str, Any]:
    """Which run it is."""
    result = run.result
    source = getattr(run.data, "path", None)
    name = f"{result.data} {Path(source).name}" if source else result.data
    return {
        "data": f"{name} {run.data.view.side} px",
        "strategy": result.strategy + (f" {result.cutoff}" if result.cutoff else ""),
        "backbone": result.backbone,
        "seed": result.seed,
        "folder": str(run.folder),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over seeds, one row for each of data, strategy and way of reading."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["data"], row["strategy"], row["view"]].append(row)
    lines = [
        "| data | strategy | view | seeds | " + " | ".join(COLUMNS) + " |",
        "|---|---|---|" + "---|" * (1 + len(COLUMNS)),
    ]
    for key, members in groups.items():
        numbers = [[m[column] for m in members] for column in COLUMNS]
        cells = [f"{fmean(values):.4f}" if None not in values else "–" for values in numbers]
        lines.append("| " + " | ".join([*key, str(len(members)), *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

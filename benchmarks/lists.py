"""Lists of the X-rays and the skin lesions with one fixed split by patient, for the comparisons.

    python benchmarks/lists.py FOLDER OUT

FOLDER holds `xray/labels.csv` (path, label, patient_id) and `ham10000/` (HAM10000_metadata.csv as
published, and images/). Written are OUT/xray.csv and OUT/ham10000.csv, for `data=csv data.path=…`.
The lesion is what HAM10000's images are split by: several of them show one.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from ttl_lightning.data.splits import split_by_patient

Rows = list[tuple[Path, str, str]]


def main() -> None:
    """Write both lists."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    folder = options.folder.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "xray.csv", xray(folder / "xray"), {"val": 0.2, "test": 0.4})
    write(options.out / "ham10000.csv", ham(folder / "ham10000"), {"val": 0.2, "test": 0.3})


def xray(folder: Path) -> Rows:
    """Every radiograph: file, class and patient."""
    with (folder / "labels.csv").open(newline="") as file:
        return [(folder / r["path"], r["label"], r["patient_id"]) for r in csv.DictReader(file)]


def ham(folder: Path) -> Rows:
    """Every image: file, diagnosis and lesion."""
    with (folder / "HAM10000_metadata.csv").open(newline="") as file:
        return [
            (folder / "images" / f"{r['image_id']}.jpg", r["dx"], r["lesion_id"])
            for r in csv.DictReader(file)
        ]


def write(path: Path, rows: Rows, fractions: dict[str, float]) -> None:
    """One row an image, split once and for all seeds alike."""
    labels = np.unique([label for _, label, _ in rows], return_inverse=True)[1]
    patients = [patient for _, _, patient in rows]
    splits = split_by_patient(labels, patients, fractions, seed=0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "patient_id", "split"])
        for row, split in zip(rows, splits, strict=True):
            writer.writerow([*row, split])
    counts = {name: int((splits == name).sum()) for name in ("train", "val", "test")}
    print(f"{path}: {counts}")


if __name__ == "__main__":
    main()

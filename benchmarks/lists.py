"""Lists of the X-rays and the skin lesions with one fixed split by patient, for the comparisons.

    python benchmarks/lists.py FOLDER OUT

FOLDER holds `xray/labels.csv` (path, label, patient_id) and `ham10000/` (HAM10000_metadata.csv as
published, and images/). Written are OUT/xray.csv and OUT/ham10000.csv, for `data=csv data.path=…`.
The lesion is what HAM10000's images are split by: several of them show one.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

from ttl_lightning.data.splits import split_by_patient

Rows = list[tuple[Path, str, str]]


def main() -> None:
    """Write both lists."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("out", type=Path, nargs="?", default=Path("lists"))
    parser.add_argument("--smoke", action="store_true", help="of tables that are made up")
    options = parser.parse_args()
    if not options.smoke:
        both(options.folder, options.out)
        return
    with tempfile.TemporaryDirectory() as name:
        both(made_up(Path(name)), Path(name))


def both(folder: Path, out: Path) -> None:
    """Write both lists."""
    folder = folder.resolve()
    out.mkdir(parents=True, exist_ok=True)
    write(out / "xray.csv", xray(folder / "xray"), {"val": 0.2, "test": 0.4})
    write(out / "ham10000.csv", ham(folder / "ham10000"), {"val": 0.2, "test": 0.3})


def made_up(folder: Path) -> Path:
    """Tables of forty images of twenty patients, as the data sets have them."""
    tables = {
        "xray/labels.csv": ("path,label,patient_id", "{0}.png,{1},p{2}"),
        "ham10000/HAM10000_metadata.csv": ("image_id,dx,lesion_id", "i{0},{1},l{2}"),
    }
    for name, (header, row) in tables.items():
        (folder / name).parent.mkdir()
        rows = [row.format(k, ("no", "yes")[k // 2 % 2], k // 2) for k in range(40)]
        (folder / name).write_text("\n".join([header, *rows]) + "\n")
    return folder


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

"""Tiny trees in the layouts in which data sets are published, as their readers expect them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from PIL import Image

from tests.data.make_volumes import write_series
from ttl_lightning.data.sources.chexpert import OBSERVATIONS

RNG = np.random.default_rng(0)


def picture(path: Path, size: tuple[int, int] = (40, 44), deep: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    high = 4096 if deep else 255
    values = RNG.integers(0, high, size, dtype=np.uint16 if deep else np.uint8)
    Image.fromarray(values).save(path)


def table(path: Path, rows: list[dict[str, Any]], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(rows[0]), *(separator.join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def ham10000(root: Path) -> Path:
    """Two pictures a lesion, in the two parts of the download."""
    rows = []
    for number in range(84):
        name, lesion = f"ISIC_{24306 + number:07}", f"HAM_{number // 2:07}"
        dx = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")[number // 2 % 7]
        rows.append({"lesion_id": lesion, "image_id": name, "dx": dx, "dx_type": "histo",
                     "age": "50.0", "sex": "male", "localization": "back"})  # fmt: skip
        part = f"HAM10000_images_part_{1 + number % 2}"
        picture(root / part / f"{name}.jpg")
    table(root / "HAM10000_metadata.csv", rows)
    return root


def chexpert(root: Path) -> Path:
    folder = root / "CheXpert-v1.0-small"
    for part, patients in (("train", 12), ("valid", 6)):
        rows = []
        for number in range(patients):
            for view, kind in ((1, "frontal"), (2, "lateral")):
                patient = f"patient{number + 1000 * (part == 'valid'):05}"
                path = f"{part}/{patient}/study1/view{view}_{kind}.jpg"
                picture(folder / path)
                values = {name: ("1.0", "0.0", "-1.0", "")[(number + place) % 4]
                          for place, name in enumerate(OBSERVATIONS)}  # fmt: skip
                rows.append({"Path": f"CheXpert-v1.0-small/{path}", "Sex": "Male", "Age": 60,
                             "Frontal/Lateral": kind.title(),
                             "AP/PA": "AP" if view == 1 else "", **values})  # fmt: skip
        table(folder / f"{part}.csv", rows)
    return folder


def covid_chestxray(root: Path) -> Path:
    rows = []
    for number in range(30):
        finding = ("Pneumonia/Viral/COVID-19", "No Finding", "Pneumonia", "todo")[number % 4]
        view = "L" if number == 5 else "PA"
        rows.append({"patientid": number // 2, "offset": 0, "sex": "M", "age": 60,
                     "finding": finding, "view": view,
                     "modality": "CT" if number == 8 else "X-ray", "folder": "images",
                     "filename": f"{number}.png"})  # fmt: skip
        picture(root / "images" / f"{number}.png")
    table(root / "metadata.csv", rows)
    return root


def bimcv(root: Path) -> Path:
    """Both sets; of each patient a frontal and a lateral image, one session, one test."""
    for sign, labels, first in (("posi", "labels_covid_posi.tsv", 3000),
                                ("nega", "Labels_covid_NEG_JAN21.tsv", 5000)):  # fmt: skip
        folder = root / f"covid19_{sign}"
        rows, tests = [], []
        for number in range(first, first + 14):
            patient, session = f"sub-S{number:05}", f"ses-E{number + 7:05}"
            for view in ("pa", "ll"):
                name = f"{patient}_{session}_run-1_bp-chest_vp-{view}_dx"
                path = folder / patient / session / "mod-rx" / f"{name}.png"
                picture(path, deep=True)
                tags = {"00280004": {"vr": "CS", "Value": ["MONOCHROME1"]},
                        "00281050": {"vr": "DS", "Value": [2048]},
                        "00281051": {"vr": "DS", "Value": [4096]}}  # fmt: skip
                path.with_suffix(".json").write_text(json.dumps(tags))
            table(folder / patient / f"{patient}_sessions.tsv",
                  [{"session_id": session, "study_date": "20200401"}], "\t")  # fmt: skip
            rows.append({"PatientID": patient, "ReportID": session, "Labels": "['COVID 19']"})
            result = "NEGATIVO" if number == first else "POSITIVO"
            day = "15.04.2020" if number == first + 1 else "02.04.2020"
            tests.append({"participant": patient, "date": day, "test": "PCR", "result": result})
        table(folder / "derivatives/labels" / labels, rows, "\t")
        if sign == "posi":
            table(folder / "derivatives/EHR/sil_reg_covid_posi.tsv", tests, "\t")
    return root


def midog(root: Path) -> Path:
    """Ten labelled slides and one of the scanner that nobody has looked at; boxes are corners."""
    images, boxes = [], []
    (root / "images").mkdir(parents=True)
    for number in (*range(1, 11), 151):
        name = f"{number:03}.tiff"
        values = RNG.integers(0, 255, (120, 150, 3), dtype=np.uint8)
        tifffile.imwrite(root / "images" / name, values, photometric="rgb")
        images.append({"file_name": name, "id": number, "width": 150, "height": 120})
        for place in range(4 if number < 100 else 0):
            x, y = 10 + 30 * place, 90 - 20 * place
            boxes.append({"bbox": [x, y, x + 50, y + 50], "category_id": 1 + place % 2,
                          "image_id": number, "id": len(boxes) + 1})  # fmt: skip
    content = {"images": images, "annotations": boxes, "categories": [], "licenses": []}
    (root / "MIDOG.json").write_text(json.dumps(content))
    return root


def rspect(root: Path) -> Path:
    rows = []
    for number in range(14):
        study, series = f"study{number:02}", f"series{number:02}"
        folder = root / "train" / study / series
        voxels = RNG.integers(-500, 500, (6, 10, 10), dtype=np.int16)
        write_series(folder, voxels)
        files = sorted(folder.iterdir())
        for place, file in enumerate(files):
            # file names say nothing about the order of the slices
            new = file.with_name(f"slice{number:02}{(7 * place) % len(files)}.dcm")
            file.rename(new)
        rows += [
            {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": file.stem,
             "pe_present_on_image": int(number % 2 and file.stem[-1] in "1234"),
             "negative_exam_for_pe": int(not number % 2), "indeterminate": int(number == 13)}
            for file in sorted(folder.iterdir())
        ]  # fmt: skip
    table(root / "train.csv", rows)
    return root


def radfusion(root: Path) -> Path:
    rows = []
    for number in range(12):
        path = root / str(number % 8) / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, RNG.integers(-500, 500, (8, 12, 12), dtype=np.int16))
        split = ("train", "train", "val", "test")[number // 2 % 4]
        rows.append({"idx": number, "label": number % 2, "pe_type": "central", "split": split})
    table(root / "Labels.csv", rows)
    return root


def penet(root: Path) -> Path:
    lines = []
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "data.hdf5", "w") as file:
        for number in range(12):
            file[str(number)] = RNG.integers(-500, 500, (8, 12, 12), dtype=np.int16)
            phase = ("train", "train", "val", "test")[number // 2 % 4]
            slices = "2,3,4,5" if number % 2 else ""
            lines.append(f"{number},1.25,{number % 2},8,{phase},central:{slices}")
    (root / "slice_list.txt").write_text("\n".join(lines) + "\n")
    return root

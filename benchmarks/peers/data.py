"""The images and weights that all peers are given, as files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import ttl_lightning as ttl
from ttl_lightning.data.splits import split_by_patient

NETWORK = "tf_efficientnet_lite0"
CLASSES = ("normal", "pneumonia")
Triple = tuple[float, float, float]


def xray(source: Path, folder: Path, images: int) -> Path:
    """Links to so many X-rays for training, half as many for validation and a few for testing."""
    with (source / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([CLASSES.index(row["label"]) for row in rows])
    patients = [row["patient_id"] for row in rows]
    splits = split_by_patient(labels, patients, {"val": 0.25, "test": 0.1}, seed=0)
    most = {"train": images, "val": images // 2, "test": 32}
    made = folder / "xray"
    for split, count in most.items():
        there = np.random.default_rng(0).permutation(np.flatnonzero(splits == split))
        for number in there[:count]:
            file = (source / rows[number]["path"]).resolve()
            target = made / split / rows[number]["label"] / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
    return made


def mnist(source: Path, folder: Path, images: int) -> Path:
    """PNG files of PneumoniaMNIST."""
    made = folder / "mnist"
    most = {"train": images, "val": images // 2, "test": 64}
    with np.load(source) as arrays:
        for split, count in most.items():
            pixels, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].ravel()
            chosen = np.random.default_rng(0).permutation(len(labels))[:count]
            for number in chosen:
                target = made / split / CLASSES[labels[number]] / f"{number:05}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels[number]).save(target)
    return made


def drawn(folder: Path) -> Path:
    """Small images of noise, for `--smoke`."""
    draw = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number in range(16):
            target = folder / split / CLASSES[number % 2] / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            noise = draw.integers(0, 255, (32, 32), np.uint8)
            Image.fromarray(noise // (1 + number % 2)).save(target)
    return folder


def plain() -> tuple[Triple, Triple]:
    """Mean and standard deviation of pixels for a network without weights."""
    return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def weights(folder: Path) -> tuple[str, Triple, Triple]:
    """A file of the pretrained weights by timm's names, with the pixels that they expect."""
    backbone = ttl.create_model(NETWORK, "ftl", image_size=(64, 64)).backbone
    file = folder / "weights.safetensors"
    if not file.exists():
        state = {key: value.contiguous() for key, value in backbone.state_dict().items()}
        save_file({k: v for k, v in state.items() if isinstance(v, torch.Tensor)}, file)
    return str(file), tuple(backbone.mean), tuple(backbone.std)

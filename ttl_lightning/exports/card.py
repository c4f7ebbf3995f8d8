"""What an export takes, gives and is worth: `card.json`, for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttl_lightning.exports.contract import Contract
from ttl_lightning.records.files import json_text
from ttl_lightning.records.folder import ExportFolder
from ttl_lightning.records.schema import RunResult

SCHEMA = 1
_THERE = ExportFolder(Path())
FILES = {
    "onnx": _THERE.onnx,
    "pt2": _THERE.program,
    "safetensors": _THERE.weights,
    "timm": _THERE.weights,
    "bundle": _THERE.bundled,
}
"""Which file holds the network, by format."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How far an export that was loaded again is from the run.

    Attributes:
        largest_difference: of probabilities, or of values in training deviations.
        images: how many.
        source: what these are.
    """

    largest_difference: float
    images: int
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "largest_difference": self.largest_difference,
            "images": self.images,
            "source": self.source,
        }


def card_of(
    kind: str, contract: Contract, result: RunResult, *, inside: bool, quantize: str | None
) -> dict[str, Any]:
    """The card of an export, without what is known once it is written.

    Args:
        kind: its format.
        contract: of the run.
        result: what the run recorded.
        inside: whether it reads stored images itself.
        quantize: "int8" or None.
    """
    described = result.model
    record = dict((result.weights or {}).get("record") or {})
    spent = ("params", "macs", "input_size")
    return {
        "schema": SCHEMA,
        "format": kind,
        "file": FILES[kind].as_posix(),
        "quantize": quantize,
        "input": input_of(contract, inside=inside),
        "output": output_of(contract),
        "classes": list(contract.outputs),
        "operating": result.operating or None,
        "network": {
            "name": result.backbone,
            "strategy": result.strategy,
            "cutoff": result.cutoff,
            "num_classes": len(contract.outputs),
            "pooling": described["pooling"],
            "in_channels": described["in_channels"],
            "image_size": list(described["image_size"]),
            "head": described.get("head", "linear"),
        },
        "contract": contract.to_dict(),
        "run": {
            "data": result.data,
            "seed": result.seed,
            "checkpoint_sha256": (result.train.get("scored") or {}).get("sha256"),
            "config_sha256": result.config_sha256,
            "versions": dict(result.versions),
            "notes": result.notes.get("data"),
        },
        "metrics": {k: v for k, v in result.metrics.items() if k.startswith("test/")},
        "intervals": dict(result.intervals),
        "complexity": {
            **{key: result.complexity.get(key) for key in spent},
            "untruncated": {
                key: (result.complexity.get("untruncated") or {}).get(key) for key in spent
            },
        },
        "weights": {"source": record.get("source"), "licence": record.get("licence")}
        if result.weights
        else None,
        "limits": limits(contract),
    }


def input_of(contract: Contract, *, inside: bool) -> dict[str, Any]:
    """What the network is given, step by step, in words and numbers."""
    return {
        "name": "image",
        "dtype": "float32",
        "shape": ["batch", *contract.shape(inside=inside)],
        "layout": "N, C, slices, height, width" if contract.volume else "N, C, height, width",
        "channel_order": "RGB" if contract.channels == 3 else "grey",
        "preprocessing": "inside" if inside else "none",
        "steps": steps(contract, inside=inside),
        "mean": list(contract.mean),
        "std": list(contract.std),
        "stored_size": contract.patched[0] if contract.patched else contract.stored,
        "image_size": list(contract.image_size),
        "fit": contract.fit,
        "crop": {"side": 1 / contract.factor, "off_centre": -contract.shift / contract.factor},
        "hu_window": None if contract.value_range is None else list(contract.value_range),
    }


def steps(contract: Contract, *, inside: bool) -> list[str]:
    """What is done to an image before the export sees it."""
    size, side = contract.patched or (contract.stored, contract.image_size[-1])
    low, high = contract.value_range or (0, 1)
    how = {
        "squash": f"resize both sides to {size} pixels",
        "pad": f"resize the longer side to {size} pixels and fill the shorter one with black bars",
        "crop": f"resize the shorter side to {size} pixels and keep the middle of the longer",
    }[contract.fit]
    square = f"{how} (bilinear, antialiased, rounded to whole numbers)"
    if contract.volume:
        window = (
            f"(value − {low:g}) / {high - low:g}"
            if contract.value_range
            else "(value − its 0.5th percentile) / (99.5th − 0.5th percentile of the volume)"
        )
        found = [
            f"{square}, slice by slice",
            f"take {contract.image_size[0]} slices; what a volume lacks at its end is 0 after the "
            "next step",
            f"{window}, clipped to 0 … 1",
        ]
    else:
        colour = "as RGB (grey is repeated)" if contract.channels == 3 else "averaged to grey"
        found = [
            f"pixels {colour}, in their own whole numbers",
            square,
            "divide by the largest number of their type (255 of 8 bits, 65535 of 16)",
        ]
    scale, off = 1 / contract.factor, -contract.shift / contract.factor
    middle = "in the middle" if not off else f"{off:+.4g} of half a side off the middle"
    read = (
        f"read a square of {scale:.6f} of the side, {middle}, as {side} pixels a side, linearly "
        "between the pixels"
    )
    if contract.patched:
        found += [read, f"take patches of {contract.stored} pixels a side"]
    if inside:
        return found
    return [
        *found,
        *([] if contract.patched else [read]),
        f"subtract mean and divide by std, by channel ({contract.in_channels})",
    ]


def output_of(contract: Contract) -> dict[str, Any]:
    """What the network gives."""
    space = list(contract.image_size) if contract.masks else []
    return {
        "name": contract.meaning,
        "dtype": "float32",
        "shape": ["batch", len(contract.outputs), *space],
        "activation": contract.activation,
    }


def limits(contract: Contract) -> list[str]:
    """What the run did around the network, which an export leaves to its user."""
    found = ["A research tool, not a medical device."]
    if contract.volume and contract.masks:
        found.append(
            "The network sees one window of slices; the run's masks of longer volumes are made of "
            "windows that overlap by half, weighted by a Gaussian, which stays outside."
        )
    elif contract.patched:
        found.append(
            "The network sees a patch; the run's masks are made of patches that overlap by half, "
            "weighted by a Gaussian, which stays outside."
        )
    elif contract.volume:
        found.append(
            "The network sees one window of slices; the run's prediction for a study is the "
            "highest probability of its windows (of several classes divided by their sum), which "
            "stays outside."
        )
    if contract.masks:
        found.append(
            "Masks are of the square that the network sees; the run reads the probabilities at "
            "the pixels of the image itself before it decides, which stays outside."
        )
    if contract.tta > 1:
        found.append(
            f"The run's test predictions are means of {contract.tta} views; the export gives the "
            "first."
        )
    return found


def write(folder: Path, card: Mapping[str, Any]) -> None:
    """Write `card.json`."""
    ExportFolder(folder).card.write_text(json_text(card), encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """Read `card.json`."""
    found: dict[str, Any] = json.loads(ExportFolder(folder).card.read_text(encoding="utf-8"))
    return found

"""An export loaded again, in a process of its own that has nothing of the run.

`python -m ttl_lightning.exports.again FOLDER INPUTS OUTPUTS` reads the folder's card and an array
of inputs, and writes the array of probabilities.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.errors import TTLError
from ttl_lightning.exports import card as cards
from ttl_lightning.exports.bundled import COLUMN, TABLE
from ttl_lightning.records.folder import ExportFolder

Array = NDArray[Any]
LIMIT_S = 600.0


def probabilities(folder: Path, inputs: Array) -> Array:
    """What an export gives, computed in another process.

    Args:
        folder: the export's.
        inputs: (N, C, *spatial) float32.

    Raises:
        TTLError: if it cannot be loaded or run there, with that process's last line.
    """
    with tempfile.TemporaryDirectory() as place:
        given, found = Path(place) / "inputs.npy", Path(place) / "outputs.npy"
        np.save(given, inputs)
        _process([sys.executable, "-m", __name__, str(folder), str(given), str(found)], None)
        return np.asarray(np.load(found, allow_pickle=False))


def _process(command: list[str], where: Path | None) -> None:
    try:
        done = subprocess.run(
            command, cwd=where, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TTLError(f"the export took more than {LIMIT_S:g} s to load and run again.") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise TTLError(f"the export cannot be loaded again: {lines[-1]}")


def _onnx(folder: Path, inputs: Array, _: dict[str, Any]) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(ExportFolder(folder).onnx)
    # several batch sizes, as the batch is dynamic
    parts = (inputs[:1], inputs[1:])
    return np.concatenate([session.run(None, {"image": part})[0] for part in parts if len(part)])


def _pt2(folder: Path, inputs: Array, _: dict[str, Any]) -> Array:
    import torch

    run = torch.export.load(ExportFolder(folder).program).module()
    with torch.no_grad():
        parts = [run(torch.from_numpy(part)) for part in (inputs[:1], inputs[1:]) if len(part)]
    return np.asarray(torch.cat(parts).numpy())


def _safetensors(folder: Path, inputs: Array, card: dict[str, Any]) -> Array:
    from safetensors.torch import load_file

    from ttl_lightning.models.create import create_model

    network = card["network"]
    model = create_model(**network, weights=None)
    tensors = load_file(ExportFolder(folder).weights)
    head = {key: value for key, value in tensors.items() if key.startswith("head.")}
    body = {f"backbone.{key}": value for key, value in tensors.items() if key not in head}
    model.load_state_dict({**body, **head})
    return _activated(model, inputs, card)


def _timm(folder: Path, inputs: Array, card: dict[str, Any]) -> Array:
    import timm

    return _activated(timm.create_model(f"local-dir:{folder}", pretrained=True), inputs, card)


def _activated(model: Any, inputs: Array, card: dict[str, Any]) -> Array:
    import torch

    from ttl_lightning.exports.contract import Contract
    from ttl_lightning.exports.graph import meant

    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(inputs))
    return np.asarray(meant(logits, Contract.from_dict(card["contract"])).numpy())


def _bundle(folder: Path, inputs: Array, card: dict[str, Any]) -> Array:
    with tempfile.TemporaryDirectory() as place:
        given, found = Path(place) / "images", Path(place) / "found"
        given.mkdir()
        for number, image in enumerate(inputs):
            np.save(given / f"{number:06d}.npy", image)
        run = [sys.executable, "-m", "monai.bundle", "run", "--config_file"]
        run += [str(ExportFolder(Path()).inference), "--dataset_dir", str(given)]
        _process([*run, "--output_dir", str(found)], folder)
        if files := sorted(found.glob("*.npy")):
            return np.stack([np.load(file, allow_pickle=False) for file in files])
        with (found / TABLE).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        names = card["contract"]["outputs"]
        return np.array([[float(row[f"{COLUMN}{name}"]) for name in names] for row in rows])


LOADERS: dict[str, Callable[[Path, Array, dict[str, Any]], Array]] = {
    "onnx": _onnx,
    "pt2": _pt2,
    "safetensors": _safetensors,
    "timm": _timm,
    "bundle": _bundle,
}


def main(folder: str, inputs: str, outputs: str) -> None:
    """In the process: load, compute, write."""
    there = Path(folder)
    card = cards.read(there)
    images = np.load(inputs, allow_pickle=False)
    np.save(outputs, LOADERS[card["format"]](there, images, card))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A file or folder for each format, of a run that is opened."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ttl_lightning.exports import bundled
from ttl_lightning.exports.bundle import bundle_inference, bundle_metadata
from ttl_lightning.exports.contract import Contract
from ttl_lightning.exports.graph import Deployed
from ttl_lightning.exports.timm_folder import timm_config, timm_tensors
from ttl_lightning.exports.tracing import as_onnx, save_program
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records.files import json_text
from ttl_lightning.records.folder import ExportFolder

READABLE = 0o644  # safetensors' own files are their owner's alone


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Attributes:
        model: in evaluation mode.
        contract: of the run.
        inside: whether the graph reads stored images.
        title: of the run, in words.
        versions: of the packages that it is made with.
    """

    model: TransferModel
    contract: Contract
    inside: bool
    title: str
    versions: Mapping[str, str]

    @property
    def deployed(self) -> Deployed:
        """From images to probabilities."""
        return Deployed(self.model, self.contract, inside=self.inside)


def write_onnx(folder: Path, subject: Subject) -> None:
    """`model.onnx`: "image" (batch, C, *spatial) float32 to what it says, any batch."""
    shape = subject.contract.shape(inside=subject.inside)
    as_onnx(subject.deployed, shape, ExportFolder(folder).onnx, subject.contract.meaning)


def write_pt2(folder: Path, subject: Subject) -> None:
    """`model.pt2`: a program of `torch.export`."""
    shape = subject.contract.shape(inside=subject.inside)
    save_program(subject.deployed, shape, ExportFolder(folder).program)


def write_safetensors(folder: Path, subject: Subject) -> None:
    """`model.safetensors`: the backbone's tensors as its source names them, and `head.*`."""
    from safetensors.torch import save_file

    file = ExportFolder(folder).weights
    save_file(tensors_of(subject.model), file, metadata={"format": "pt", "run": subject.title})
    file.chmod(READABLE)


def tensors_of(model: TransferModel) -> dict[str, Tensor]:
    """The backbone's state under the source network's own keys, and the head's below `head.`."""
    head = {f"head.{key}": value for key, value in model.head.state_dict().items()}
    found = {**model.backbone.state_dict(), **head}
    return {key: value.detach().cpu().contiguous().clone() for key, value in found.items()}


def write_timm(folder: Path, subject: Subject) -> None:
    """`model.safetensors` and `config.json`, for `timm.create_model("local-dir:FOLDER")`.

    Raises:
        ConfigError: if timm has no such network.
    """
    from safetensors.torch import save_file

    tensors, classifier = timm_tensors(subject.model)
    there, contract = ExportFolder(folder), subject.contract
    save_file(tensors, there.weights, metadata={"format": "pt"})
    there.weights.chmod(READABLE)
    features = tensors[f"{classifier}.weight"].shape[1]
    config = timm_config(subject.model.backbone.name, contract, features)
    there.timm.write_text(json_text(config), encoding="utf-8")


def write_bundle(folder: Path, subject: Subject) -> None:
    """A MONAI bundle: `configs`, `models` and `scripts`."""
    there, contract = ExportFolder(folder), subject.contract
    for file in (there.metadata, there.bundled, there.scripts):
        file.parent.mkdir(parents=True, exist_ok=True)
    save_program(subject.deployed, contract.shape(inside=True), there.bundled)
    there.scripts.write_text(inspect.getsource(bundled), encoding="utf-8")
    there.metadata.write_text(
        json_text(bundle_metadata(contract, subject.title, subject.versions)), encoding="utf-8"
    )
    there.inference.write_text(json_text(bundle_inference(contract)), encoding="utf-8")


WRITERS: dict[str, Callable[[Path, Subject], None]] = {
    "onnx": write_onnx,
    "pt2": write_pt2,
    "safetensors": write_safetensors,
    "timm": write_timm,
    "bundle": write_bundle,
}

"""Pretrained weights: where they are, how they are read, how many of them fit. No code is run."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ttl_lightning.errors import DataError, UnknownNameError, WeightsError
from ttl_lightning.models.backbones.tensors import check_packed, unusable
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult

log = logging.getLogger(__name__)

HEADS = ("head", "fc", "classifier", "last_linear", "conv_seg", "op_threshs")
# what DataParallel, a LightningModule and a TransferModel prepend
WRAPPERS = ("module.", "model.", "backbone.")
NESTED = (
    *("state_dict", "model_state_dict", "model_state", "model", "teacher", "ema", "model_ema"),
    *("state_dict_ema", "net", "network", "backbone", "encoder", "student", "params"),
)


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What a load did: the tensors that were filled, of how many, and from which bytes.

    Attributes:
        prefix: under which the file holds them, where it has one beside the usual wrappers'.
        names: whose they are, or how else the tensors were told apart; empty for the network's own.
        record: what the weights were trained as; see `pretrained.WeightsRecord`.
    """

    source: str
    sha256: str | None
    matched: int
    total: int
    inflated: bool = False
    prefix: str = ""
    names: str = ""
    record: Mapping[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Plain values for `result.json`."""
        return asdict(self)

    def __str__(self) -> str:
        """One line for the log."""
        digest = f", SHA-256 {self.sha256}" if self.sha256 else ""
        inflated = ", inflated from 2D" if self.inflated else ""
        under = f", under {self.prefix!r}; what lies beside it is left out" if self.prefix else ""
        return (
            f"weights: {self.matched} of {self.total} tensors matched from {self.source}{digest}"
            f"{inflated}{f', named {self.names}' if self.names else ''}{under}"
        )


def find_file(weights: str) -> Path:
    """The file that a path, or the folder of a completed run, names.

    Raises:
        WeightsError: if there is none.
    """
    path = Path(weights).expanduser()
    if path.is_dir():
        path = _of_a_completed_run(path)
    if not path.is_file():
        allowed = ("imagenet", "null", "a .pth or .safetensors file", "a run's folder")
        if "/" not in weights and "." not in weights:
            raise UnknownNameError("backbone.weights", weights, allowed)
        raise WeightsError(
            f"backbone.weights: there is no file {path}. Allowed: {', '.join(allowed)}."
        )
    return path


def _of_a_completed_run(folder: Path) -> Path:
    path = RunFolder(folder).best
    with contextlib.suppress(DataError):  # a folder with a checkpoint alone will do
        if (status := RunResult.load(folder).status) != "completed":
            raise WeightsError(
                f"backbone.weights: the run in {folder} is {status}, not completed: end it, or "
                f"give {path}, its best epoch so far."
            )
    return path


def load_plain(path: Path) -> object:
    """What a `.safetensors`, `.pth` or checkpoint file holds; runs no code that it may hold.

    Raises:
        WeightsError: if the file is damaged, or holds anything but plain tensors and values.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        check_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters about a strange file is the error
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise WeightsError(
            f"weights {path} cannot be read as plain tensors: {cause(error)}"
        ) from error


def read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file of weights, without wrappers' prefixes.

    Raises:
        WeightsError: if the file cannot be read, or holds no tensors by name.
    """
    content = load_plain(path)
    whole = content if isinstance(content, dict) else {}
    part = next((whole[key] for key in NESTED if isinstance(whole.get(key), dict)), whole)
    tensors = {k: v for k, v in part.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        raise WeightsError(f"weights {path} hold no tensors by name.")
    return _unwrapped(tensors)


def check_usable(tensors: Mapping[str, Tensor], source: str) -> None:
    """Demand tensors that a network can be filled with.

    Raises:
        WeightsError: naming the first that is not, and why.
    """
    for name, tensor in tensors.items():
        if reason := unusable(name, tensor):
            raise WeightsError(f"weights {source}: {name} {reason}.")


def cause(error: Exception) -> str:
    """Why a file was refused, without torch's advice to let it run its code."""
    if isinstance(error, pickle.UnpicklingError):
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked:
            return (
                f"it asks for {asked[1]}, which could run code. Where the file is trusted, keep "
                "its plain tensors: torch.save(model.state_dict(), FILE), or of a checkpoint "
                'torch.save({"state_dict": checkpoint["state_dict"]}, FILE).'
            )
    text = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"it is damaged, or no file of weights ({text or type(error).__name__})."


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS:
        if all(key.startswith((prefix, *HEADS)) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matched(
    tensors: Mapping[str, Tensor],
    needed: Mapping[str, Tensor],
    known: Iterable[str],
    source: str,
    first_conv: str | None = None,
) -> dict[str, Tensor]:
    """The tensors that fill a network, every needed one of them.

    Args:
        tensors: what a file holds.
        needed: the network's tensors that must be filled, by key.
        known: keys, or prefixes of keys, that the file may hold besides (a head, units not kept).
        source: what to call the file in an error.
        first_conv: the convolution whose input channels are adapted, as timm does it.

    Raises:
        WeightsError: if a needed tensor is missing or has another shape, or a foreign one is there.
    """
    missing = [k for k in needed if k not in tensors and not k.endswith("num_batches_tracked")]
    allowed = (*known, *HEADS)
    foreign = [k for k in tensors if k not in needed and not k.startswith(allowed)]
    filled = {key: tensors[key] for key in needed if key in tensors}
    check_usable(filled, source)
    conv = f"{first_conv}.weight"
    if conv in filled:
        filled[conv] = _adapted(filled[conv], needed[conv].shape[1])
    misfits = [k for k, v in filled.items() if v.shape != needed[k].shape]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for keys, what in (
            (missing, "missing"),
            (misfits, "of another shape"),
            (foreign, "unknown"),
        )
        if keys
    ]
    if problems:
        raise WeightsError(
            f"weights {source} fit only {len(filled) - len(misfits)} of the {len(needed)} tensors "
            f"needed: {'; '.join(problems)}. Only a head may differ."
        )
    return filled


def _adapted(weight: Tensor, in_channels: int) -> Tensor:
    from timm.models import adapt_input_conv

    given = weight.shape[1]
    if given == in_channels:
        return weight
    flat = weight.flatten(2, -2)  # the depth of a 3D filter, since timm knows 2D ones only
    adapted: Tensor = adapt_input_conv(in_channels, flat, base_chans=given)
    return adapted.reshape(-1, in_channels, *weight.shape[2:])

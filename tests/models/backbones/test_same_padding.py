"""SAME padding: the numbers of timm's network and of TensorFlow's formula, at every input size."""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.same_padding import PaddedReLU6, fuse_same_padding
from ttl_lightning.models.cost import complexity, count_parameters
from ttl_lightning.models.create import create_model

NAME = "tf_efficientnet_lite0"
SIZES = (32, 33, 37, 64, 65, 97, 224)


@pytest.fixture(scope="module")
def pair() -> tuple[Backbone, nn.Module]:
    """Our backbone and timm's own network, with the same weights and statistics."""
    torch.manual_seed(0)
    net = timm.create_model(NAME)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    backbone = create_backbone(NAME, weights=None)
    state = net.state_dict()
    assert set(state) - set(backbone.state_dict()) == {"classifier.weight", "classifier.bias"}
    backbone.load_state_dict({key: state[key] for key in backbone.state_dict()})
    return backbone.eval(), net.eval()


def images(size: int, number: int = 2) -> Tensor:
    return torch.randn(number, 3, size, size + 3, generator=torch.Generator().manual_seed(size))


def by_formula(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution with TensorFlow's SAME padding, padded by hand.

    Source: the notes on padding in TensorFlow's `tf.nn` guide: the output has ceil(size / stride)
        places; where the padding is odd, the end gets the additional one.
    """
    for axis, kernel, stride in zip((2, 3), conv.kernel_size, conv.stride, strict=True):
        size = x.shape[axis]
        remainder = size % stride
        total = max(kernel - (remainder or stride), 0)
        before, after = [list(x.shape) for _ in range(2)]
        before[axis], after[axis] = total // 2, total - total // 2
        x = torch.cat([x.new_zeros(before), x, x.new_zeros(after)], axis)
    return functional.conv2d(x, conv.weight, conv.bias, conv.stride, groups=conv.groups)


@pytest.mark.parametrize("size", SIZES)
def test_every_map_is_timms_own(pair, size: int) -> None:
    backbone, net = pair
    x = images(size)
    with torch.no_grad():
        assert torch.equal(backbone(x), net.forward_features(x))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("block", [(1, 0), (2, 0)])  # filters of 3 and of 5
def test_strided_convolutions_pad_by_tensorflows_formula(pair, block, size: int) -> None:
    backbone, net = pair
    stage, number = block
    at = f"blocks.{stage}.{number}"
    source, ours = net.get_submodule(at), backbone.net.get_submodule(at)
    x = torch.randn(2, source.conv_pw.in_channels, size, size + 1)
    expected = by_formula(source.bn1(source.conv_pw(x)), source.conv_dw)
    found = ours.conv_dw(ours.bn1(ours.conv_pw(x)))
    assert found.shape[2:] == (-(-size // 2), -(-(size + 1) // 2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    x = images(size)
    stem = backbone.net.conv_stem
    torch.testing.assert_close(stem(x), by_formula(x, net.conv_stem), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [32, 37, 65])
def test_training_is_timms_own(pair, size: int, layout: torch.memory_format) -> None:
    ours, net = (copy.deepcopy(module).train().to(memory_format=layout) for module in pair)
    for _ in range(2):
        results = []
        for module, forward in ((ours, ours.forward), (net, net.forward_features)):
            x = images(size).to(memory_format=layout).requires_grad_()
            module.zero_grad()
            out = forward(x)
            out.square().mean().backward()
            grads = {key: p.grad for key, p in module.named_parameters() if p.grad is not None}
            results.append(
                (out.detach(), x.grad, {k.removeprefix("net."): g for k, g in grads.items()})
            )
        (out, at_input, grads), (out_timm, at_input_timm, grads_timm) = results
        assert torch.equal(out, out_timm)
        torch.testing.assert_close(at_input, at_input_timm, atol=1e-7, rtol=1e-4)
        assert len(grads) == len(grads_timm) > 100
        for key, grad in grads.items():
            torch.testing.assert_close(grad, grads_timm[key], atol=1e-6, rtol=1e-4)
    state = net.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in ours.state_dict().items())


def test_gradients_are_those_of_finite_differences() -> None:
    for kernel, stride in ((3, 2), (5, 2), (3, 3)):
        conv = Conv2dSame(2, 2, kernel, stride)
        layer = PaddedReLU6(conv)
        x = torch.rand(1, 2, 6, 5, dtype=torch.float64) * 8 - 1
        x = x + 0.01 * (x.abs() < 0.01) + 0.01 * ((x - 6).abs() < 0.01)  # away from the kinks
        assert torch.autograd.gradcheck(layer, x.requires_grad_())
        assert torch.equal(layer(x), functional.pad(functional.relu6(x), sides(layer, x)))


def sides(layer: PaddedReLU6, x: Tensor) -> list[int]:
    """Left, right, above, below, from the number of places that the output must have."""
    found: list[int] = []
    for size, kernel, stride in zip(x.shape[:1:-1], layer.kernel_size, layer.stride, strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        found += [total // 2, total - total // 2]
    return found


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_can_be_exported_for_a_fixed_size(pair, size: int, strict: bool) -> None:
    backbone, net = pair
    x = images(size, number=1)
    program = torch.export.export(backbone, (x,), strict=strict)
    with torch.no_grad():
        torch.testing.assert_close(
            program.module()(x), net.forward_features(x), atol=1e-6, rtol=1e-5
        )


def test_it_can_be_copied_and_pickled(pair) -> None:
    backbone, _ = pair
    x = images(37)
    with torch.no_grad():
        expected = backbone(x)
        for again in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
            assert torch.equal(again(x), expected)


@pytest.mark.parametrize("size", [64, 224])
def test_padding_costs_nothing_that_is_counted(size: int) -> None:
    same, symmetric = (
        create_model(name, "ttl", "block5", 2, image_size=(size, size), weights=None)
        for name in (NAME, "efficientnet_lite0")
    )
    assert count_parameters(same) == count_parameters(symmetric)
    counts = [complexity(model, (3, size, size)) for model in (same, symmetric)]
    assert counts[0].macs_by_op == counts[1].macs_by_op
    assert counts[0].macs_by_unit == counts[1].macs_by_unit


def test_what_does_not_pad_as_tensorflow_does_is_left_alone() -> None:
    for name in ("efficientnet_lite0", "tf_efficientnet_b0", "test_efficientnet", "resnet18"):
        net = timm.create_model(name)
        before = [(key, type(module)) for key, module in net.named_modules()]
        fuse_same_padding(net)
        assert [(key, type(module)) for key, module in net.named_modules()] == before


def test_random_weights_and_the_generator_are_as_timm_leaves_them() -> None:
    torch.manual_seed(3)
    net = timm.create_model(NAME)
    expected, after = net.state_dict(), torch.rand(1)
    torch.manual_seed(3)
    backbone = create_backbone(NAME, weights=None)
    assert torch.equal(torch.rand(1), after)
    assert all(torch.equal(value, expected[key]) for key, value in backbone.state_dict().items())

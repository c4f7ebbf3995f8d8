from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, UnknownCutoffError
from ttl_lightning.interpret import maximisation as module
from ttl_lightning.interpret.maximisation import maximise
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.units import Unit
from ttl_lightning.models.create import create_model

SIDE = 7
MEAN, STD = (0.2, 0.5), (0.1, 0.3)


def edge(axis: int, dims: int) -> Tensor:
    """One dark and one bright stripe, `(SIDE,) * dims`, of mean 0; volumes: alike in each slice."""
    at = torch.arange(SIDE) - SIDE // 2
    wave, bell = torch.sin(2 * math.pi * at / SIDE), torch.exp(-(at**2) / 8)
    plane = torch.outer(bell, wave * bell)
    plane = plane if axis == -1 else plane.T
    return plane if dims == 2 else plane.expand(SIDE, -1, -1) / SIDE


def planted(dims: int = 2, relu: nn.Module | None = None, bias: float = 0.0) -> Backbone:
    """Channels 0 and 1 look for an edge along either axis, in the first of two input channels.

    Channel 2 is the brightness of the second one.
    """
    make = nn.Conv2d if dims == 2 else nn.Conv3d
    conv = make(2, 3, SIDE, padding=SIDE // 2, padding_mode="circular")
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, bias)
    conv.weight.data[0, 0], conv.weight.data[1, 0] = edge(-1, dims), edge(-2, dims)
    conv.weight.data[2, 1] = 1 / SIDE**dims
    source = nn.Module()
    source.add_module("conv", conv)
    source.add_module("relu", relu or nn.ReLU(inplace=True))
    return Backbone("planted", source, [Unit("stem", ("conv", "relu"))], 2, MEAN, STD, dims)


def likeness(image: Tensor, pattern: Tensor) -> NDArray[np.float64]:
    """Absolute correlations of the pattern with all pieces of the image, computed with NumPy."""
    windows = np.lib.stride_tricks.sliding_window_view(image.double().numpy(), pattern.shape)
    pieces = windows.reshape(-1, pattern.numel())
    pieces = pieces - pieces.mean(1, keepdims=True)
    wanted = pattern.double().numpy().ravel()
    norms = np.linalg.norm(pieces, axis=1) * np.linalg.norm(wanted)
    return np.abs(pieces @ wanted) / np.maximum(norms, 1e-12)


@pytest.mark.parametrize(("dims", "size"), [(2, (32, 40)), (3, (8, 16, 20))])
def test_a_planted_edge_is_found(dims: int, size: tuple[int, ...]) -> None:
    result = maximise(planted(dims), "stem", [0, 1], size, steps=64)
    assert result.images.shape == (2, 2, *size)
    assert (result.start > 0).all()
    assert (result.end > 5 * result.start).all()
    for n, axis in enumerate((-1, -2)):
        own = likeness(result.images[n, 0], edge(axis, dims))
        other = likeness(result.images[n, 0], edge(-3 - axis, dims))
        unseen = likeness(result.images[n, 1], edge(axis, dims))
        assert own.max() > 0.6
        assert own.mean() > 1.4 * max(other.mean(), unseen.mean())


def test_the_responses_are_those_of_the_images_shown() -> None:
    backbone = planted()
    result = maximise(backbone, "stem", [2, 0], 24, steps=20)
    assert 0 <= result.images.min() < result.images.max() <= 1
    mean, std = (np.array(values).reshape(2, 1, 1) for values in (MEAN, STD))
    scaled = (result.images.double().numpy() - mean) / std
    # channel 2: the mean of circular windows' means, of which the ReLU cuts off what is negative
    size = range(-(SIDE // 2), SIDE // 2 + 1)
    windows = [np.roll(scaled[0, 1], (a, b), (0, 1)) for a in size for b in size]
    expected = np.maximum(np.mean(windows, 0), 0).mean()
    assert result.end[0].item() == pytest.approx(expected, rel=1e-4)
    with torch.no_grad():
        x = torch.from_numpy(scaled).float()
        assert result.end[1].item() == pytest.approx(backbone(x)[1, 0].mean().item(), rel=1e-4)


def test_the_start_is_noise_as_in_photographs() -> None:
    spatial = (64, 96)
    decay = module._decay(spatial)
    noise = torch.randn(200, 1, *decay.shape, 2)
    pixels = module._logits(noise, decay, spatial)
    assert pixels.std().item() == pytest.approx(1, abs=0.05)
    power = torch.fft.fft2(pixels).abs().square().mean((0, 1))
    # the power of a wave falls with the square of its frequency: cycles a pixel
    assert (power[0, 24] / power[0, 12]).item() == pytest.approx(1 / 4, rel=0.4)
    assert (power[8, 0] / power[0, 12]).item() == pytest.approx(1, rel=0.4)


def test_the_cost_of_what_is_rough() -> None:
    x = np.random.default_rng(0).random((2, 3, 1, 5, 4))
    steps = [np.abs(np.diff(x, axis=axis)).mean((1, 2, 3, 4)) for axis in (3, 4)]
    np.testing.assert_allclose(module._total_variation(torch.from_numpy(x)), sum(steps))


def test_images_are_moved_by_an_eighth_at_most() -> None:
    x = torch.arange(8 * 16.0 * 24).reshape(1, 1, 8, 16, 24)
    seen: set[tuple[int, ...]] = set()
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        moved = module._shifted(x, generator)
        to = np.unravel_index(moved.argmin().item(), (8, 16, 24))  # where the corner went
        assert np.array_equal(np.roll(x.numpy(), to, (2, 3, 4)), moved.numpy())
        sides = zip(to, (8, 16, 24), strict=True)
        seen.add(tuple(int((at + n // 2) % n - n // 2) for at, n in sides))
    for axis, most in enumerate((1, 2, 3)):
        assert {shift[axis] for shift in seen} == set(range(-most, most + 1))


@pytest.mark.parametrize("relu", [nn.ReLU, nn.ReLU6])
def test_a_silent_channel_is_woken(relu: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = planted(relu=relu(inplace=True), bias=-0.3)
    result = maximise(backbone, "stem", [2], 24, steps=64)
    assert result.start.item() == 0
    assert result.end.item() > 0.01
    monkeypatch.setattr(module, "LEAK", 0.0)
    assert maximise(backbone, "stem", [2], 24, steps=64).end.item() == 0


def test_a_dead_channel_gives_no_nan() -> None:
    result = maximise(planted(bias=-1e6), "stem", [0], 24, steps=2)
    assert (result.start.item(), result.end.item()) == (0, 0)
    assert result.images.isfinite().all()


def test_an_image_depends_on_its_channel_and_the_seed_only() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    torch.manual_seed(1)
    both = maximise(backbone, "block2", [5, 3], 32, steps=6)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = maximise(backbone, "block2", [5, 3], 32, steps=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(both, again, strict=True))
    alone = maximise(backbone, "block2", [3], 32, steps=6)
    torch.testing.assert_close(alone.images[0], both.images[1], atol=1e-3, rtol=0)
    torch.testing.assert_close(alone.start[0], both.start[1])
    other = maximise(backbone, "block2", [5, 3], 32, steps=6, seed=1)
    assert not torch.allclose(other.images, both.images, atol=0.01)


@pytest.mark.parametrize(
    ("name", "size"), [("test_resnet", (32, 48)), ("resnet18", 32), ("resnet3d_10", (8, 24, 24))]
)
def test_networks_of_two_and_three_dimensions(name: str, size: int | tuple[int, ...]) -> None:
    model = create_model(name, "lwft", "block2", image_size=size, weights=None)
    result = maximise(model, "block2", [0, 7, 2], size, steps=16)
    assert result.images.shape == (3, *model.backbone.input_shape(size))
    assert (result.end >= result.start).all()
    assert result.end.sum() > 1.5 * result.start.sum()


def test_the_model_stays_as_it_was() -> None:
    model = create_model("test_resnet", "lwft", "block2", image_size=32, weights=None).train()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    state = copy.deepcopy(model.state_dict())
    modes = [(type(m), m.training) for m in model.modules()]
    needed = [p.requires_grad for p in model.parameters()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    expected = maximise(model, "block3", [1], 32, steps=2)
    for only_predicts in (torch.no_grad, torch.inference_mode):
        with only_predicts():
            result = maximise(model, "block3", [1], 32, steps=2)
        assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))
        assert not any(tensor.requires_grad for tensor in result)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [(type(m), m.training) for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == needed
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        assert p.grad is gradient is None or torch.equal(p.grad, gradient)


def test_what_does_not_fit_is_refused() -> None:
    backbone = planted()
    with pytest.raises(UnknownCutoffError, match=r"^unknown cutoff of planted 'block1'"):
        maximise(backbone, "block1", [0], 32)
    for channel in (3, -1, True):
        text = f"channels of stem of planted must be an integer from 0 to 2, got {channel}."
        with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
            maximise(backbone, "stem", [0, channel], 32)
    with pytest.raises(ConfigError, match=r"^channels must name one channel at least, got none\.$"):
        maximise(backbone, "stem", [], 32)
    with pytest.raises(ConfigError, match=r"^steps must be an integer of at least 1, got 0\.$"):
        maximise(backbone, "stem", [0], 32, steps=0)
    with pytest.raises(ConfigError, match=r"^backbone=planted takes images, so data\.image_size"):
        maximise(backbone, "stem", [0], (8, 32, 32))
    with pytest.raises(ConfigError, match=r"^images of 2x2 pixels are too small for planted up to"):
        maximise(backbone, "stem", [0], 2)

"""What single channels respond to: images made to excite them, by gradient ascent.

The image is the sum of waves whose strength falls with their frequency, as in photographs, so that
ascent finds shapes before it finds the fine noise that any network responds to. It is moved about
at random at each step, and its total variation costs a little. ReLUs let a little gradient through
where they are silent, or a channel that the first noise does not wake would never be found.

Source: Erhan et al., Visualizing Higher-Layer Features of a Deep Network (2009); Olah et al.,
Feature Visualization (Distill 2017), "The Enemy of Feature Visualization"; the paper's Appendix E.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, check_number
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.strategies.base import TransferModel

LEARNING_RATE = 0.05
# of the noise that ascent starts with, before the sigmoid: a quarter of it on the scale of 0 to 1
START_STD = 0.3
# the largest shift along an axis, as a share of its length
JITTER = 1 / 8
# what a total variation of 1 costs, where a unit's responses to the first noise are 1 on average
SMOOTHNESS = 0.5
# what a mean square of 1 costs before the sigmoid, by the same measure
SHRINKAGE = 0.03
# the share of the gradient that a silent ReLU lets through
LEAK = 0.1


class Maximised(NamedTuple):
    """The images, and what they achieve.

    Attributes:
        images: `(channels, in_channels, *spatial)`, from 0 to 1.
        start: each channel's response to the noise that all images start with, `(channels,)`.
        end: each channel's response to its image, `(channels,)`.
    """

    images: Tensor
    start: Tensor
    end: Tensor


def maximise(
    model: Backbone | TransferModel,
    unit: str,
    channels: Sequence[int],
    image_size: int | Sequence[int],
    steps: int = 256,
    seed: int = 0,
) -> Maximised:
    """Draw the images that single channels of a unit respond to most.

    A response is the mean of the channel over the unit's map, with the model in evaluation mode.
    All images start with the same noise, and none depends on what other channels are asked for. A
    channel that nothing wakes has responses of 0.

    Args:
        model: it works on a copy: nothing of the caller's changes.
        unit: any unit that a cutoff can name.
        channels: the unit's channels, counted from 0.
        image_size: as `data.image_size`: one number for every dimension, or `[height, width]`, for
            volumes `[slices, height, width]`.
        steps: number of steps of Adam.
        seed: of the noise and of the shifts.

    Raises:
        UnknownCutoffError: if the backbone has no such unit.
        ConfigError: if a channel is out of range or none is given, or the images are too small or
            have another number of dimensions.

    Source: Olah et al. (Distill 2017), the objective "channel".
    """
    backbone = model.backbone if isinstance(model, TransferModel) else model
    check_number("steps", steps, 1, integer=True)
    # also where the caller only predicts, as Lightning does when it validates
    with torch.inference_mode(mode=False), torch.enable_grad():
        net = backbone.truncated(unit).eval().requires_grad_(requires_grad=False)
        shape = net.input_shape(image_size)
        _check_channels(channels, net, net.output_shape(shape[1:])[0])
        _redirect(net)
        return _ascend(net, channels, shape, steps, seed)


def _check_channels(channels: Sequence[int], net: Backbone, width: int) -> None:
    if not channels:
        raise ConfigError("channels must name one channel at least, got none.")
    for channel in channels:
        key = f"channels of {net.cutoffs[-1]} of {net.name}"
        check_number(key, channel, 0, width - 1, integer=True)


class _Redirected(nn.Module):
    """A ReLU's values, and a share of the gradient that it keeps back."""

    def __init__(self, relu: nn.Module) -> None:
        super().__init__()
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(x)
        return out + LEAK * (x - x.detach())


def _redirect(net: Backbone) -> None:
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU | nn.ReLU6):
                setattr(parent, name, _Redirected(type(child)()))


def _ascend(
    net: Backbone, channels: Sequence[int], shape: tuple[int, ...], steps: int, seed: int
) -> Maximised:
    spatial = shape[1:]
    device = next(net.parameters()).device
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same noise on every device
    decay = _decay(spatial)
    noise = START_STD * torch.randn(shape[0], *decay.shape, 2, generator=generator)
    waves = noise.to(device).repeat(len(channels), *[1] * noise.ndim).requires_grad_()
    decay = decay.to(device)
    optimizer = torch.optim.Adam([waves], lr=LEARNING_RATE)

    with torch.no_grad():
        images = _logits(waves, decay, spatial).sigmoid()
        start = _responses(net, images, channels)
        unit_scale = net(_scaled(net, images[:1])).abs().mean()
        unit_scale = torch.where(unit_scale > 0, unit_scale, 1.0)
    for _ in range(steps):
        logits = _logits(waves, decay, spatial)
        images = logits.sigmoid()
        responses = _responses(net, _shifted(images, generator), channels)
        cost = SMOOTHNESS * _total_variation(images)
        cost = cost + SHRINKAGE * logits.square().flatten(1).mean(1)
        loss = cost - responses / unit_scale
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        images = _logits(waves, decay, spatial).sigmoid()
        return Maximised(images, start, _responses(net, images, channels))


def _decay(spatial: tuple[int, ...]) -> Tensor:
    """Strength of each wave, `(*spatial[:-1], spatial[-1] // 2 + 1)`: one over its frequency.

    Scaled so that waves of random strength 1 add up to pixels of standard deviation 1.
    """
    axes = [torch.fft.fftfreq(size) for size in spatial]
    squares = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
    decay = squares.sqrt().clamp_min(1 / max(spatial)).reciprocal()
    decay = decay / decay.square().mean().sqrt()
    return decay[..., : spatial[-1] // 2 + 1]


def _logits(waves: Tensor, decay: Tensor, spatial: tuple[int, ...]) -> Tensor:
    """The images before the sigmoid, `(N, C, *spatial)`.

    The last axis of `waves` holds real and imaginary parts.
    """
    spectrum = torch.view_as_complex(waves * 0.5**0.5) * decay
    axes = tuple(range(-len(spatial), 0))
    logits: Tensor = torch.fft.irfftn(spectrum, s=spatial, dim=axes, norm="ortho")
    return logits


def _scaled(net: Backbone, images: Tensor) -> Tensor:
    """What the network takes: less the mean, divided by the standard deviation of each channel."""
    mean, std = (
        torch.tensor(values, device=images.device).reshape(-1, *[1] * net.spatial_dims)
        for values in (net.mean, net.std)
    )
    return (images - mean) / std


def _responses(net: Backbone, images: Tensor, channels: Sequence[int]) -> Tensor:
    """The n-th channel's mean over its map of the n-th image, `(N,)`."""
    maps = net(_scaled(net, images)).flatten(2).mean(2)
    return torch.stack([maps[n, channel] for n, channel in enumerate(channels)])


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """All images moved alike, at random; what leaves on one side enters on the other."""
    shifts = []
    for size in images.shape[2:]:
        most = int(size * JITTER)
        shifts.append(int(torch.randint(-most, most + 1, (), generator=generator)))
    return images.roll(shifts, tuple(range(2, images.ndim)))


def _total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, summed over the axes, `(N,)`."""
    total = images.new_zeros(len(images))
    for axis in range(2, images.ndim):
        if images.shape[axis] > 1:  # or there are no neighbours
            total = total + images.diff(dim=axis).abs().flatten(1).mean(1)
    return total

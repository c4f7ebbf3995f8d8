"""Heads by name, and one that the package does not know: a decoder of the pyramid."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.cost import complexity
from ttl_lightning.models.heads.linear import LinearHead, zero_head
from ttl_lightning.models.strategies.base import TransferModel


class Decoder(nn.Module):
    """Every map as `WIDTH` channels, added up from the coarsest to the finest; a mask of logits."""

    needs = "pyramid"
    WIDTH = 4

    def __init__(self, backbone: Backbone, spatial: Sequence[int], num_classes: int) -> None:
        super().__init__()
        conv = nn.Conv2d if backbone.spatial_dims == 2 else nn.Conv3d
        self.spatial = tuple(spatial)
        self.sides = nn.ModuleList(conv(width, self.WIDTH, 1) for width in backbone.channels)
        self.out = conv(self.WIDTH, num_classes, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        sides = [side(m) for side, m in zip(self.sides, maps, strict=True)]
        x = sides.pop()
        while sides:
            x = functional.interpolate(x, sides[-1].shape[2:]) + sides.pop()
        masks: Tensor = self.out(functional.interpolate(x, self.spatial))
        return masks


def make(strategy: str = "lwft", cutoff: str | None = "block2") -> TransferModel:
    torch.manual_seed(5)
    return ttl.create_model(
        "test_resnet", strategy, cutoff, 3, weights=None, image_size=(32, 64), head=Decoder
    )


def images(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 32, 64, generator=torch.Generator().manual_seed(3))


def test_names() -> None:
    pooled, flat = (
        ttl.create_model("test_resnet", "ttl", "block2", weights=None, image_size=32, head=head)
        for head in ("linear", "linear_unpooled")
    )
    assert isinstance(pooled.head, LinearHead)
    assert (pooled.head.fc.in_features, flat.head.fc.in_features) == (48, 48 * 4 * 4)


def test_a_wrong_head_is_said_in_a_line() -> None:
    with pytest.raises(UnknownNameError) as caught:
        ttl.create_model("no_such_network", "ftl", weights=None, head="liner")
    assert str(caught.value) == (
        "unknown head 'liner'; did you mean 'linear'? Allowed: linear, linear_unpooled, unet."
    )
    with pytest.raises(ConfigError, match=r"^pooling=False is for head=linear, got head=.*Decoder"):
        ttl.create_model("no_such_network", "ftl", weights=None, pooling=False, head=Decoder)
    with pytest.raises(UnknownNameError) as caught:
        ttl.create_model("test_resnet", "ftl", weights=None, head=lambda *_: nn.Identity())
    assert str(caught.value) == ("unknown needs of the head Identity None. Allowed: last, pyramid.")


@pytest.mark.slow
def test_a_small_image_is_found_before_the_head_is_made() -> None:
    with pytest.raises(ConfigError, match="are too small for vgg11 up to block4"):
        ttl.create_model("vgg11", "ttl", "block4", weights=None, image_size=8, head=Decoder)


@pytest.mark.parametrize(
    ("strategy", "cutoff", "levels"),
    [("ttl", "stem", 2), ("ttl", "block2", 3), ("tf", "block2", 5), ("ffe", None, 5)],
)
def test_the_decoder_gets_the_maps_that_are_left(
    strategy: str, cutoff: str | None, levels: int
) -> None:
    model, x = make(strategy, cutoff).eval(), images()
    assert len(model.head.sides) == levels
    with torch.no_grad():
        assert torch.equal(model(x), model.head(model.backbone.pyramid(x)))
        assert model(x).shape == (2, 3, 32, 64)


def test_volumes_whose_axes_shrink_unequally() -> None:
    model = ttl.create_model(
        "penet", "ttl", "block1", 2, weights=None, image_size=(5, 24, 16), head=Decoder
    )
    assert model(torch.rand(1, 3, 5, 24, 16)).shape == (1, 2, 5, 24, 16)


def test_one_step_trains_the_decoder_and_what_is_not_frozen() -> None:
    model = make().train()
    for key, parameter in model.named_parameters():
        if parameter.ndim == 1 and key.endswith("weight"):
            nn.init.ones_(parameter)  # some norms start at 0, which stops gradients
    groups = model.param_groups(100.0)
    assert {group["name"]: group["lr"] for group in groups} == {"head": 100.0, "backbone": 10.0}
    assert [id(p) for p in groups[0]["params"]] == [id(p) for p in model.head.parameters()]
    trained = {id(p) for group in groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}
    before = copy.deepcopy(model.state_dict())
    masks = torch.arange(3)[torch.randint(3, (2, 32, 64))]
    functional.cross_entropy(model(images()), masks).backward()
    torch.optim.SGD(groups).step()
    after = model.state_dict()
    still = {key for key, value in after.items() if torch.equal(value, before[key])}
    held = {f"backbone.{key}" for key in model.backbone.truncated("block2").state_dict()}
    assert held <= still
    assert not {key for key in still - held if key.endswith(("weight", "bias"))}
    assert any(key.startswith("head.sides.0") for key in after.keys() - still)


def test_state_dict_round_trip() -> None:
    model = make().eval()
    state = model.state_dict()
    assert {key.split(".")[1] for key in state if key.startswith("head.")} == {"sides", "out"}
    again = make("lwft", "block1").eval()
    for parameter in again.parameters():
        nn.init.zeros_(parameter)
    again.load_state_dict(state, strict=True)
    assert torch.equal(again(images()), model(images()))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["linear", Decoder])
@pytest.mark.parametrize("strict", [False, True])
def test_it_can_be_exported(strict: bool, head: object) -> None:
    model = ttl.create_model(
        "test_resnet", "ttl", "block2", weights=None, image_size=(32, 64), head=head
    ).eval()
    x = images()
    program = torch.export.export(model, (x,), strict=strict)
    assert torch.equal(program.module()(x), model(x))


@pytest.mark.parametrize("head", ["linear", Decoder])
def test_it_can_be_traced_copied_and_pickled(head: object) -> None:
    model = ttl.create_model(
        "test_resnet", "ttl", "block2", weights=None, image_size=(32, 64), head=head
    ).eval()
    x = images()
    for twin in (
        torch.jit.trace(model, x),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert torch.equal(twin(x), model(x))


def test_its_cost_is_counted() -> None:
    model = make("ttl")
    cost = complexity(model, (3, 32, 64))
    sides = zip(model.backbone.channels, (16 * 32, 8 * 16, 4 * 8), strict=True)
    expected = sum(4 * width * pixels for width, pixels in sides) + 4 * 3 * 32 * 64
    expected += 4 * (8 * 16 + 16 * 32 + 32 * 64)  # enlarging: one for each element it gives
    assert cost.macs_by_unit["head"] == expected
    assert sum(cost.macs_by_unit.values()) == cost.macs


def test_what_starts_a_linear_head_says_so() -> None:
    with pytest.raises(ConfigError, match=r"^protocol.head_init=zero needs the linear head, the"):
        zero_head(make().head)

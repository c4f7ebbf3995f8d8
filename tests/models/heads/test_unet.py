"""The U-Net's decoder beside segmentation_models_pytorch's own network, whole and cut."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

import ttl_lightning as ttl
from ttl_lightning.models.cost import complexity
from ttl_lightning.models.strategies.base import TransferModel

# parameters and multiply-adds of convolutions at 224 x 224, of smp.Unet without its dead layers
COSTS = {
    "full": (24_436_369, 5.983),
    "block3": (8_961_681, 4.878),
    "block2": (1_548_945, 3.080),
    "block1": (284_817, 1.744),
    "stem": (21_265, 0.703),
}
PLANAR = (
    "test_resnet", "resnet10t", "densenet121", "tf_efficientnet_lite0", "mobilenetv3_small_050",
    "vgg11_bn", "convnext_atto", "regnety_002",
)  # fmt: skip
DEEP = ("resnet3d_10", "densenet3d_121", "resnext3d_50", "penet")


def unet(
    name: str = "resnet34", strategy: str = "ftl", cutoff: str | None = None, size: object = 64
) -> TransferModel:
    torch.manual_seed(0)
    return ttl.create_model(
        name, strategy, cutoff, 1, weights=None, image_size=size, head="unet"
    ).eval()


def images(*size: int, n: int = 2) -> Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(3)) - 0.5


@pytest.mark.parametrize("cutoff", COSTS)
def test_parameters_and_multiply_adds_are_those_of_a_cut_unet(cutoff: str) -> None:
    params, gigas = COSTS[cutoff]
    cost = complexity(unet("resnet34", "ttl", cutoff, 224), (3, 224, 224))
    assert cost.params == params
    assert round(cost.macs_by_op["conv"] / 1e9, 3) == gigas


def test_with_its_weights_the_outputs_are_smps() -> None:
    theirs = smp.Unet("resnet34", encoder_weights=None, classes=1).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    ours = unet()
    encoder, decoder = theirs.encoder.state_dict(), theirs.decoder.state_dict()
    ours.backbone.load_state_dict({k: v for k, v in encoder.items() if not k.startswith("fc.")})
    wide = [*decoder.values(), *theirs.segmentation_head.state_dict().values()]
    ours.head.load_state_dict(dict(zip(ours.head.state_dict(), wide, strict=True)))
    x = images(96, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cutoff", ["block3.6", "block3.2", "block2", "block1"])
def test_a_whole_decoders_weights_load_into_a_cut_one(cutoff: str) -> None:
    whole, cut = unet().head.state_dict(), unet("resnet34", "ttl", cutoff).head
    left = len(cut.stages)
    dropped = 5 - left
    kept = {}
    for key, value in whole.items():
        first, _, rest = key.partition(".")
        if first == "stages":
            number, _, rest = rest.partition(".")
            if int(number) < dropped:
                continue
            key = f"stages.{int(number) - dropped}.{rest}"
        kept[key] = value
    cut.load_state_dict(kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANAR)
@pytest.mark.parametrize("size", [(33, 50), (7, 64)])
def test_any_size_gives_a_mask_of_it(name: str, size: tuple[int, int]) -> None:
    with torch.no_grad():
        for cutoff in ("full", "block2"):
            model = unet(name, "ttl", cutoff)
            if model.backbone.try_shape(size):
                assert model(images(*size)).shape == (2, 1, *size)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEEP)
def test_volumes_whose_axes_shrink_unequally(name: str) -> None:
    size = (9, 33, 40)
    with torch.no_grad():
        for cutoff in ("block1", "block2"):
            model = unet(name, "ttl", cutoff, (16, 64, 64))
            assert model(images(*size, n=1)).shape == (1, 1, *size)


def test_enlarging_leaves_a_size_that_fits_as_it_is() -> None:
    """What is added lies beyond the far edges: a padded image's mask is the beginning of one."""
    model, x = unet(), images(45, 70)
    enlarged = functional.pad(x, (0, 96 - 70, 0, 64 - 45), mode="replicate")
    with torch.no_grad():
        assert torch.equal(model(x), model(enlarged)[..., :45, :70])


@pytest.mark.parametrize("cutoff", ["stem", "block2", "block3.2"])
def test_the_decoder_has_a_stage_for_each_resolution_that_is_left(cutoff: str) -> None:
    stages = {"stem": [16], "block2": [64, 32, 16], "block3.2": [128, 64, 32, 16]}
    head = unet("resnet34", "ttl", cutoff).head
    assert [stage.convs.conv_1.conv.out_channels for stage in head.stages] == stages[cutoff]


@pytest.mark.parametrize(
    ("strategy", "cutoff"),
    [("ftl", None), ("ffe", None), ("lwft", "block2"), ("tf", "block2"), ("ttl", "block2")],
)
def test_one_step_changes_what_the_strategy_trains(strategy: str, cutoff: str | None) -> None:
    model = unet("test_resnet", strategy, cutoff).train()
    for key, parameter in model.named_parameters():
        if parameter.ndim == 1 and key.endswith("weight"):
            nn.init.ones_(parameter)  # some norms start at 0, which stops gradients
    before = {key: value.clone() for key, value in model.named_parameters()}
    x = images(64, 64)
    functional.binary_cross_entropy_with_logits(model(x), (x[:, :1] > 0).float()).backward()
    torch.optim.SGD(model.param_groups(1.0)).step()
    moved = {k for k, v in model.named_parameters() if not torch.equal(v, before[k])}
    assert moved == {k for k, v in model.named_parameters() if v.requires_grad}
    assert any(key.startswith("head.stages.0") for key in moved)
    assert any(key.startswith("backbone") for key in moved) == (strategy != "ffe")


def test_it_can_be_exported() -> None:
    model, x = unet("test_resnet", "ttl", "block2"), images(40, 64)
    program = torch.export.export(model, (x,))
    assert torch.equal(program.module()(x), model(x))

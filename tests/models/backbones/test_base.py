from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, UnknownCutoffError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC

Source = Callable[[str], nn.Module]
Wrap = Callable[[nn.Module], Backbone]

FAMILIES = [
    "test_resnet",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "seresnet18",
    pytest.param("wide_resnet50_2", marks=pytest.mark.slow),
    "densenet121",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "mobilenetv2_050",
    "mobilenetv3_small_050",
    "vgg11",
    "vgg11_bn",
    "convnext_atto",
    "regnetx_002",
    "regnety_002",
    "resnet3d_10",
    "densenet3d_121",
    "resnext3d_50",
    "penet",
]

# a cutoff, and the module of the source network whose output it is, counted by hand
LANDMARKS = [
    ("resnet50", "stem", "maxpool"),
    ("resnet50", "block1", "layer1"),
    ("resnet50", "block3.4", "layer3.3"),
    ("resnet50", "block4.2", "layer4.1"),
    ("resnet18", "block2.1", "layer2.0"),
    ("densenet121", "stem", "features.pool0"),
    ("densenet121", "block1.6", "features.denseblock1"),
    ("densenet121", "block1", "features.transition1"),
    ("densenet121", "block3.25", "features.transition3"),
    ("densenet121", "block4", "features.denseblock4"),
    ("densenet121", "tail", "features.norm5"),
    ("efficientnet_b0", "stem", "bn1"),
    ("efficientnet_b0", "block5", "blocks.4"),
    ("efficientnet_b0", "block5.2", "blocks.4.1"),
    ("efficientnet_b0", "block7", "blocks.6"),
    ("efficientnet_b0", "tail", "bn2"),
    ("mobilenetv3_small_050", "block2.1", "blocks.1.0"),
    ("mobilenetv3_small_050", "block6", "blocks.5"),
    ("vgg11", "block1.1", "features.2"),
    ("vgg11", "block3.1", "features.7"),
    ("vgg11", "block3", "features.10"),
    ("vgg11_bn", "block3.2", "features.14"),
    ("convnext_atto", "stem", "stem"),
    ("convnext_atto", "block2", "stages.1"),
    ("convnext_atto", "block3.1", "stages.2.blocks.0"),
    ("regnetx_002", "stem", "stem"),
    ("regnetx_002", "block3.2", "s3.b2"),
    ("regnety_002", "block4", "s4"),
    ("resnet3d_10", "stem", "maxpool"),
    ("resnet3d_10", "block2", "layer2"),
    ("densenet3d_121", "stem", "features.pool0"),
    ("densenet3d_121", "block1.6", "features.denseblock1"),
    ("densenet3d_121", "block1", "features.transition1"),
    ("densenet3d_121", "block4", "features.denseblock4"),
    ("resnext3d_50", "stem", "maxpool"),
    ("resnext3d_50", "block3.4", "layer3.3"),
    ("penet", "stem", "max_pool"),
    ("penet", "block2.1", "encoders.1.penet_blocks.0"),
    ("penet", "block4", "encoders.3"),
]

# what pools a 3D network's map
POOLS = ("avgpool", "class_layers.pool", "classifier.avg_pool")


def images(n: int = 2, size: int = 64) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(3)) - 0.4


def inputs(name: str, n: int = 2) -> Tensor:
    """Images, or volumes for a 3D network: just large enough for it."""
    if name not in VOLUMETRIC:
        return images(n)
    shape = (32, 32, 32) if name.startswith("densenet") else (8, 32, 32)
    return torch.rand(n, 3, *shape, generator=torch.Generator().manual_seed(3)) - 0.4


def map_of(net: nn.Module, x: Tensor) -> Tensor:
    """The map that the source's own forward pass gives to its pooling."""
    if hasattr(net, "forward_features"):
        return net.forward_features(x)
    modules, seen = dict(net.named_modules()), list[Tensor]()
    (pool,) = (modules[path] for path in POOLS if path in modules)
    handle = pool.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    net(x)
    handle.remove()
    return seen[0]


def outputs_of(net: nn.Module, paths: list[str], x: Tensor) -> dict[str, Tensor]:
    """What the source's own modules give in its own forward pass."""
    seen: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            seen[path] = output.clone()

        return hook

    handles = [net.get_submodule(p).register_forward_hook(keep(p)) for p in paths]
    with torch.no_grad():
        map_of(net, x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_units_output_is_the_sources_own(name: str, source: Source, wrap: Wrap) -> None:
    net, x = source(name), inputs(name)
    backbone = wrap(net)
    plain = [unit for unit in backbone.units if not unit.concat]
    expected = outputs_of(net, [unit.pieces[-1] for unit in plain], x)
    with torch.no_grad():
        features = dict(backbone.features(x))
    assert tuple(features) == backbone.cutoffs
    for unit in plain:
        assert torch.equal(features[unit.name], expected[unit.pieces[-1]]), unit.name


@pytest.mark.parametrize("name", FAMILIES)
def test_all_units_give_forward_features(name: str, source: Source, wrap: Wrap) -> None:
    net, x = source(name), inputs(name)
    with torch.no_grad():
        expected = map_of(net, x)
        assert torch.equal(wrap(net)(x), expected)
        *_, (last, feature) = wrap(net).features(x)
    assert last == wrap(net).resolve("full")
    assert torch.equal(feature, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cutoff", "path"), LANDMARKS)
def test_a_cutoff_lies_where_the_paper_counts_it(
    name: str, cutoff: str, path: str, source: Source, wrap: Wrap
) -> None:
    net, x = source(name), inputs(name)
    with torch.no_grad():
        feature = dict(wrap(net).features(x))[wrap(net).resolve(cutoff)]
    assert torch.equal(feature, outputs_of(net, [path], x)[path])


def test_dense_layers_concatenate(source: Source, wrap: Wrap) -> None:
    net, x = source("densenet121"), images()
    layers = [f"features.denseblock2.denselayer{k}" for k in range(1, 13)]
    seen = outputs_of(net, ["features.transition1", *layers], x)
    with torch.no_grad():
        features = dict(wrap(net).features(x))
    parts = [seen["features.transition1"]]
    for k, layer in enumerate(layers, start=1):
        parts.append(seen[layer])
        assert torch.equal(features[f"block2.{k}"], torch.cat(parts, 1))


@pytest.mark.parametrize("name", FAMILIES)
def test_state_dict_has_the_sources_keys_and_loads_there(
    name: str, source: Source, wrap: Wrap
) -> None:
    net = source(name)
    theirs, ours = net.state_dict(), wrap(net).state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    missing, unexpected = net.load_state_dict(ours, strict=False)
    heads = ("fc.", "classifier.", "head.", "conv_head.", "class_layers.")
    assert all(key.startswith(heads) for key in missing)
    assert not unexpected


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_truncated_network_is_a_prefix_of_the_source(
    name: str, source: Source, wrap: Wrap
) -> None:
    net, x = source(name), inputs(name, 1)
    backbone = wrap(net)
    theirs = net.state_dict()
    with torch.no_grad():
        features = dict(backbone.features(x))
    sizes = []
    for cutoff in dict.fromkeys((1, *map(backbone.index, backbone.blocks))):
        part = backbone.truncated(cutoff)
        state = part.state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in state.items())
        assert part.cutoffs == backbone.cutoffs[: backbone.index(cutoff)]
        with torch.no_grad():
            assert torch.equal(part(x), features[backbone.resolve(cutoff)])
        sizes.append(len(state))
    assert sizes == sorted(set(sizes))


@pytest.fixture
def tiny() -> Backbone:
    return create_backbone("test_resnet", weights=None)


@pytest.fixture(scope="module")
def resnet50() -> Backbone:
    return create_backbone("resnet50", weights=None)


def test_the_papers_candidates_of_resnet50(resnet50: Backbone) -> None:
    assert len(resnet50.cutoffs) == 17
    assert resnet50.cutoffs[:2] == ("stem", "block1.1")
    assert resnet50.blocks == ("block1", "block2", "block3", "block4")


@pytest.mark.parametrize(
    ("given", "name", "index"),
    [
        ("stem", "stem", 1),
        (1, "stem", 1),
        ("1", "stem", 1),
        ("block1", "block1.3", 4),
        ("block2", "block2.4", 8),
        (12, "block3.4", 12),
        ("block3.4", "block3.4", 12),
        ("block3", "block3.6", 14),
        ("14", "block3.6", 14),
        ("full", "block4.3", 17),
        (17, "block4.3", 17),
    ],
)
def test_resolve(given: str | int, name: str, index: int, resnet50: Backbone) -> None:
    assert resnet50.resolve(given) == name
    assert resnet50.index(given) == index


@pytest.mark.parametrize(
    "given", ["block5", "block3.7", "Stem", "tail", "", "--3", "²", 0, -1, 18, True, 2.0]
)
def test_an_unknown_cutoff_names_those_there_are(given: object, resnet50: Backbone) -> None:
    with pytest.raises(UnknownCutoffError) as caught:
        resnet50.resolve(given)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith(f"unknown cutoff of resnet50 {given!r}")
    assert "Allowed: block1, block2, block3, block4, stem, block1.1" in text
    assert text.endswith("Or an integer from 1 to 17.")
    assert "\n" not in text


def test_the_nearest_cutoff_is_proposed(resnet50: Backbone) -> None:
    with pytest.raises(UnknownCutoffError, match=r"'blok3'; did you mean 'block3'\?"):
        resnet50.resolve("blok3")


def test_a_truncation_is_a_copy(tiny: Backbone) -> None:
    before = copy.deepcopy(tiny.state_dict())
    part = tiny.truncated("block2")
    for value in part.state_dict().values():
        value.zero_()
    assert all(torch.equal(value, before[key]) for key, value in tiny.state_dict().items())


def test_a_truncation_keeps_mode_hold_and_report(tiny: Backbone) -> None:
    tiny.freeze("block1")
    assert tiny.eval().truncated("block2").training is False
    assert all(not module.training for module in tiny.truncated("block2").modules())
    part = tiny.train().truncated("block2")
    assert part.training
    assert [unit.name for unit in part.frozen_units] == ["stem", "block1.1"]
    assert not part.net.get_submodule("layer1").get_submodule("0").training
    assert part.net.get_submodule("layer2").get_submodule("0").training


def test_a_truncation_can_be_truncated(tiny: Backbone) -> None:
    x = images(1)
    tiny.eval()
    again = tiny.truncated("block3").truncated("stem")
    assert again.cutoffs == ("stem",)
    assert torch.equal(again(x), dict(tiny.features(x))["stem"])
    with pytest.raises(UnknownCutoffError):
        again.resolve("block1")


def frozen_keys(backbone: Backbone) -> set[str]:
    return {key for key, p in backbone.named_parameters() if not p.requires_grad}


def test_freezing_holds_parameters_and_statistics(tiny: Backbone) -> None:
    tiny.freeze("block2")
    held = {key: value.clone() for key, value in tiny.truncated("block2").state_dict().items()}
    optimizer = torch.optim.SGD((p for p in tiny.parameters() if p.requires_grad), lr=0.1)
    for _ in range(3):
        tiny.train().train()
        tiny(images()).square().mean().backward()
        optimizer.step()
    after = tiny.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in held.items())
    assert any("running_mean" in key for key in held)
    moved = [key for key in after if key.startswith("layer3") and "num_batches" in key]
    assert moved
    assert all(after[key] == 3 for key in moved)


def test_another_freeze_moves_the_hold(tiny: Backbone) -> None:
    tiny.freeze("block3")
    tiny.freeze("stem")
    fresh = create_backbone("test_resnet", weights=None)
    fresh.freeze("stem")
    assert frozen_keys(tiny) == frozen_keys(fresh)
    assert tiny.net.get_submodule("layer3").get_submodule("0").training


def test_the_mode_is_restored_after_measuring_a_shape(tiny: Backbone) -> None:
    tiny.freeze("block1")
    tiny.train()
    tiny.output_shape((64, 64))
    assert tiny.training
    assert not tiny.net.get_submodule("bn1").training


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, (64, 64)) for name in ("test_resnet", "densenet121", "vgg11", "convnext_atto")),
        *((name, (96, 64)) for name in ("test_resnet", "densenet121", "vgg11", "convnext_atto")),
        *((name, (9, 24, 33)) for name in ("resnet3d_10", "penet")),
        ("densenet3d_121", (29, 33, 40)),
    ],
)
def test_output_shape_is_that_of_a_real_pass(
    name: str, size: tuple[int, ...], source: Source, wrap: Wrap
) -> None:
    backbone = wrap(source(name))
    with torch.no_grad():
        assert backbone.output_shape(size) == tuple(backbone(torch.rand(1, 3, *size)).shape[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "cutoff", "smallest"),
    [("vgg11", 16, "block5", 32), ("vgg11", 3, "block2", 4), ("densenet121", 16, "full", 29)],
)
def test_too_small_images(
    name: str, size: int, cutoff: str, smallest: int, source: Source, wrap: Wrap
) -> None:
    backbone = wrap(source(name)).truncated(cutoff)
    with pytest.raises(ConfigError) as caught:
        backbone.output_shape((size, size))
    assert str(caught.value) == (
        f"images of {size}x{size} pixels are too small for net up to {backbone.cutoffs[-1]}; "
        f"the smallest data.image_size that fits is {smallest}."
    )
    assert backbone.output_shape((smallest, smallest))


@pytest.mark.slow
def test_too_small_volumes(source: Source, wrap: Wrap) -> None:
    backbone = wrap(source("densenet3d_121"))
    with pytest.raises(ConfigError) as caught:
        backbone.output_shape((24, 64, 64))
    assert str(caught.value) == (
        "volumes of 24x64x64 voxels are too small for net up to tail; "
        "the smallest data.image_size that fits is [29, 29, 29]."
    )
    assert backbone.output_shape((29, 29, 29)) == (1024, 1, 1, 1)
    assert backbone.try_shape((28, 29, 29)) is None


def test_one_size_serves_every_dimension(source: Source, wrap: Wrap) -> None:
    planar, volumetric = wrap(source("test_resnet")), wrap(source("resnet3d_10"))
    assert planar.input_shape(64) == (3, 64, 64)
    assert planar.input_shape([48, 64]) == (3, 48, 64)
    assert volumetric.input_shape(64) == (3, 64, 64, 64)
    assert volumetric.input_shape((24, 48, 64)) == (3, 24, 48, 64)
    assert volumetric.truncated("stem").input_shape(8) == (3, 8, 8, 8)


def test_a_size_of_other_dimensions_names_what_to_choose(source: Source, wrap: Wrap) -> None:
    with pytest.raises(ConfigError) as caught:
        wrap(source("resnet3d_10")).input_shape([64, 64])
    assert str(caught.value) == (
        "backbone=net takes volumes, so data.image_size must be [slices, height, width], got "
        "[64, 64]: choose data=volumes, data=npz3d or data=phantom3d."
    )
    with pytest.raises(ConfigError) as caught:
        wrap(source("test_resnet")).input_shape((16, 64, 64))
    assert str(caught.value) == (
        "backbone=net takes images, so data.image_size must be one number or [height, width], got "
        "[16, 64, 64]: choose a 3D backbone such as resnext3d_50 or resnet3d_18."
    )


def test_round_trip_alone_and_inside_another_module(tiny: Backbone) -> None:
    other = create_backbone("test_resnet", weights=None)
    other.load_state_dict(tiny.state_dict())
    x = images()
    assert torch.equal(other.eval()(x), tiny.eval()(x))
    holder = nn.ModuleDict({"backbone": tiny})
    state = holder.state_dict()
    assert all(key.startswith("backbone.") and ".net." not in key for key in state)
    again = nn.ModuleDict({"backbone": create_backbone("test_resnet", weights=None)})
    again.load_state_dict(state)
    assert torch.equal(again["backbone"].eval()(x), tiny(x))


def test_a_foreign_or_missing_key_is_refused(tiny: Backbone) -> None:
    state = tiny.state_dict()
    with pytest.raises(RuntimeError, match=r"layer9\.weight"):
        tiny.load_state_dict({**state, "layer9.weight": torch.ones(1)})
    state.pop("conv1.0.weight")
    with pytest.raises(RuntimeError, match=r"conv1\.0\.weight"):
        tiny.load_state_dict(state)


def test_a_deep_copy_is_independent(tiny: Backbone) -> None:
    tiny.freeze("stem")
    twin = copy.deepcopy(tiny)
    x = images()
    assert torch.equal(twin.eval()(x), tiny.eval()(x))
    assert twin.cutoffs == tiny.cutoffs
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert not torch.equal(twin(x), tiny(x))
    assert not twin.train().net.get_submodule("bn1").training


def test_features_are_not_overwritten_by_later_units(source: Source, wrap: Wrap) -> None:
    backbone = wrap(source("vgg11"))
    with torch.no_grad():
        kept = [(name, feature, feature.clone()) for name, feature in backbone.features(images())]
    assert all(torch.equal(feature, at_once) for _, feature, at_once in kept)

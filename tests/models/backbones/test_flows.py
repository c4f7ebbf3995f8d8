"""Networks whose units pass on more than maps: unit by unit what timm's own network computes."""

from __future__ import annotations

from collections import Counter

import pytest
import timm
import torch
from timm.models import _registry
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.survey import survey
from ttl_lightning.models.create import create_model

# a small member of each family, and how many units it has
EXACT = {
    "test_vit": 8, "test_vit2": None, "test_vit3": None, "vit_tiny_r_s16_p8_224": 14,
    "deit_tiny_distilled_patch16_224": 14, "vit_small_patch16_rope_224": None,
    "beit_base_patch16_224": 13,
    "eva02_tiny_patch14_224": 13, "swin_tiny_patch4_window7_224": 14,
    "swinv2_tiny_window8_256": 14, "pvt_v2_b0": 9,
    "maxvit_rmlp_pico_rw_256": None, "coatnet_nano_rw_224": None, "test_resnet": 5,
    "resnetv2_18": 10, "nf_regnet_b0": 18, "repvgg_a0": None, "mobileone_s0": 43,
    "mobilevit_xxs": None, "cs3darknet_focus_s": 5, "dla46_c": 7, "fastvit_t8": 12,
    "hgnetv2_b0": 6, "mambaout_femto": 19, "ghostnet_050": 18, "repghostnet_050": 18,
    "legacy_seresnet18": 9, "inception_v3": 14, "xception41": 14,
}  # fmt: skip
GENERIC = ("starnet_s1", "edgenext_xx_small", "focalnet_tiny_srf", "xcit_nano_12_p16_224")
HEAVY = (
    *("swinv2_tiny_window8_256", "swin_tiny_patch4_window7_224"),
    *("inception_v3", "xception41", "coatnet_nano_rw_224", "maxvit_rmlp_pico_rw_256"),
    *("mobileone_s0", "focalnet_tiny_srf", "xcit_nano_12_p16_224", "vit_tiny_r_s16_p8_224"),
    *("vit_small_patch16_rope_224", "beit_base_patch16_224"),
)
EACH = [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in (*EXACT, *GENERIC)]


def made(name: str, **options) -> tuple[Backbone, nn.Module, Tensor]:
    """A backbone, timm's network with its weights, and an input."""
    torch.manual_seed(5)
    backbone = create_backbone(name, weights=None, **options).eval()
    theirs = timm.create_model(name, pretrained=False).eval()
    state = backbone.state_dict()
    given = theirs.load_state_dict(state, strict=False)
    assert not given.unexpected_keys, "keys are the source network's"
    assert backbone.native is not None
    x = torch.randn(2, 3, *backbone.native, generator=torch.Generator().manual_seed(1))
    return backbone, theirs, x


def as_map(out: Tensor, like: Tensor) -> Tensor:
    """What timm's network gives, as a map."""
    if out.ndim == 3:
        places = out[:, out.shape[1] - like.shape[2] * like.shape[3] :]
        return places.transpose(1, 2).reshape(like.shape)
    return out if out.shape == like.shape else out.permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", EACH)
def test_every_map_is_timms(name: str) -> None:
    backbone, theirs, x = made(name)
    with torch.no_grad():
        maps = dict(backbone.features(x))
        ours = backbone(x)
        whole = theirs.forward_features(x)
        between = theirs.forward_intermediates(x, output_fmt="NCHW", intermediates_only=True)
    assert torch.equal(list(maps.values())[-1], ours)
    if name != "xcit_nano_12_p16_224":  # whose class attention comes after its maps
        assert torch.equal(as_map(whole, ours), ours)
    stages = [m for m in between if any(m.shape == one.shape for one in maps.values())]
    found = sum(any(torch.equal(m, one) for one in maps.values() if one.shape == m.shape)
                for m in stages)  # fmt: skip
    # timm lists maps within stems, and within blocks of Inception and Xception, that end no unit
    assert found >= len(between) - (1 if "xception" not in name else 4) - ("inception" in name)
    assert found or name.startswith("xception")
    units = EXACT.get(name)
    assert backbone.flow.generic == (name in GENERIC)
    assert units is None or len(backbone.units) == units


@pytest.mark.parametrize("name", ["test_vit", "eva02_tiny_patch14_224", "pvt_v2_b0", "starnet_s1",
                                  "hgnetv2_b0", "mambaout_femto"])  # fmt: skip
def test_a_cut_one_computes_the_same_and_holds_less(name: str) -> None:
    backbone, _, x = made(name)
    at = backbone.cutoffs[len(backbone.cutoffs) // 2]
    cut = backbone.truncated(at).eval()
    with torch.no_grad():
        assert torch.equal(cut(x), dict(backbone.features(x))[at])
    assert cut.state_dict().keys() < backbone.state_dict().keys()
    cut(x).square().mean().backward()
    assert all(p.grad is not None for p in cut.parameters())
    again = cut.truncated(cut.cutoffs[0])
    assert again.cutoffs == backbone.cutoffs[:1]


def test_positions_are_frozen_with_the_stem() -> None:
    backbone, _, x = made("test_vit")
    backbone.freeze("block2")
    trained = {key for key, p in backbone.net.named_parameters() if p.requires_grad}
    assert "pos_embed" not in trained
    assert "cls_token" not in trained
    assert trained
    assert all(key.startswith(("blocks.", "norm.")) for key in trained)
    backbone(x).square().mean().backward()
    model = create_model("test_vit", "lwft", "block2", weights=None, image_size=160)
    groups = {group["name"]: group["params"] for group in model.param_groups(1.0)}
    assert len(groups["backbone"]) == len(trained)


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224", "pvt_v2_b0"])
def test_a_pass_goes_on_from_a_map_that_is_put_in_its_place(name: str) -> None:
    backbone, _, x = made(name)
    at = backbone.cutoffs[2]
    with torch.no_grad():
        same = [maps[-1] for _, maps in backbone.walk(x, lambda _, out: out.clone())]
        halved = [maps[-1] for _, maps in backbone.walk(
            x, lambda unit, out: out * 0.5 if unit.name == at else out)]  # fmt: skip
    plain = list(dict(backbone.features(x)).values())
    for ours, expected in zip(same, plain, strict=True):
        torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(halved[2], plain[2] * 0.5)
    assert not torch.equal(halved[3], plain[3])


def test_maps_of_stages_cannot_be_replaced_and_say_so() -> None:
    backbone, _, x = made("starnet_s1")
    last = backbone.cutoffs[-1]
    walked = backbone.walk(x, lambda unit, out: out * 2 if unit.name == last else out)
    *_, (_, maps) = walked
    torch.testing.assert_close(maps[-1], backbone(x) * 2)
    with pytest.raises(ConfigError, match=r"gives maps of its stages and takes none, .* cut it at"):
        list(backbone.walk(x, lambda _, out: out * 2))


def test_images_of_other_sizes() -> None:
    model = create_model("test_vit", "ttl", "block2", weights=None, image_size=[96, 64])
    assert model(torch.rand(2, 3, 96, 64)).shape == (2, 2)
    assert model.backbone.output_shape((96, 64))[1:] == (6, 4)
    text = r"cuts images into patches of 16x16 pixels, .* nearest that fits is \[96, 96\]"
    with pytest.raises(ConfigError, match=text):
        create_model("test_vit", "ttl", "block2", weights=None, image_size=100)
    name = "swin_tiny_patch4_window7_224"
    swin = create_model(name, "ttl", "block1", weights=None, image_size=92)
    assert swin(torch.rand(1, 3, 92, 92)).shape == (1, 2)
    with pytest.raises(ConfigError, match=r"not of \[90, 90\]; the next .* is \[92, 92\]"):
        create_model(name, "ttl", "block1", weights=None, image_size=90)
    with pytest.raises(ConfigError, match=r"convit_tiny takes no images of 96x96 pixels as it is"):
        create_model("convit_tiny", "ttl", "block1", weights=None, image_size=96)


@pytest.mark.parametrize("name", ["test_vit", "pvt_v2_b0", "starnet_s1", "dla46_c"])
def test_a_decoder_takes_their_maps(name: str) -> None:
    model = create_model(name, "ttl", "block2", 1, weights=None, image_size=64, head="unet")
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)


@pytest.mark.parametrize(("name", "at"), [("test_vit", "block2"), ("test_vit3", "block3"),
                                         ("swin_tiny_patch4_window7_224", "block2")])  # fmt: skip
def test_transfusion_halves_heads_and_mlps(name: str, at: str) -> None:
    torch.manual_seed(5)
    model = create_model(name, "tf", at, weights=None, image_size=64)
    torch.manual_seed(5)
    whole = create_model(name, "ftl", weights=None, image_size=64).backbone
    cut = whole.index(at)
    for unit, before in zip(model.backbone.units, whole.units, strict=True):
        assert unit.channels == before.channels
        for piece in unit.pieces:
            ours = model.backbone.net.get_submodule(piece)
            theirs = whole.net.get_submodule(piece)
            kept = model.backbone.index(unit.name) <= cut
            if hasattr(ours, "attn"):
                by = 1 if kept else 2
                assert ours.attn.num_heads == max(1, theirs.attn.num_heads // by)
                assert ours.mlp.fc1.out_features == theirs.mlp.fc1.out_features // by
            if kept:
                pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
                assert all(torch.equal(one, other) for one, other in pairs)
    x = torch.rand(2, 3, 64, 64)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "starnet_s1",
            "halves blocks that it knows, and of starnet_s1 only the stages",
        ),
        ("eva02_tiny_patch14_224", r"strategy=tf cannot slim blocks\.\d+\.attn: EvaAttention"),
    ],
)
def test_where_halving_means_nothing_one_line_says_so(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        create_model(name, "tf", "block2", weights=None, image_size=create_backbone(
            name, weights=None).native)  # fmt: skip
    assert "\n" not in str(caught.value)


SMALL = ("test_", "pico", "nano", "femto", "atto", "xxs", "xxt", "tiny", "_t0", "_s0", "_xs", "18",
         "small", "_b0", "_m0", "_s1", "_m1", "_050", "_0", "_s")  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what old networks of timm say when they are built
def test_nine_in_ten_of_timms_networks_have_cutoffs() -> None:
    """One small member of each of timm's modules stands for those that have published weights."""
    published = Counter(
        _registry._model_to_module[name]
        for name in {full.partition(".")[0] for full in timm.list_pretrained()}
    )
    members = {}
    for module in published:
        names = timm.list_models(module=module)
        members[module] = min(
            names,
            key=lambda n: (next((k for k, s in enumerate(SMALL) if s in n), len(SMALL)), len(n)),
        )
    found = {one.name: one for one in survey(list(members.values()))}
    counts: Counter[str] = Counter()
    for module, name in members.items():
        one = found[name]
        counts[one.kind] += published[module]
        print(f"{module:<28}{name:<40}{one.kind:<9}{len(one.cutoffs):>4} {one.reason}")  # noqa: T201
    share = 1 - counts["none"] / counts.total()
    print(f"{share:.3f} of {counts.total()}: {dict(counts)}")  # noqa: T201
    assert share >= 0.9

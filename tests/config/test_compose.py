"""The configuration composes in every combination, and a mistake in it is one helpful line."""

import itertools
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from ttl_lightning.config import compose as config
from ttl_lightning.errors import ConfigError, UnknownNameError

CONF = Path(__file__).parents[2] / "conf"
GROUPS = ("backbone", "strategy", "data", "protocol", "trainer", "logger", "experiment")
CHOICES = [f"{g}={p.stem}" for g in GROUPS for p in sorted((CONF / g).glob("*.yaml"))]


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
def test_every_file_composes_and_resolves(choice, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cfg, folder = config.read([choice])
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert folder.parts[:2] == ("outputs", cfg.name)


@pytest.mark.slow
def test_every_pair_of_data_and_protocol_composes() -> None:
    names = [[p.stem for p in (CONF / g).glob("*.yaml")] for g in ("data", "protocol")]
    for data, protocol in itertools.product(*names):
        cfg, _ = config.read([f"data={data}", f"protocol={protocol}"])
        assert cfg.data.batch_size == cfg.protocol.batch_size
        assert cfg.trainer.max_epochs == cfg.protocol.max_epochs


def test_any_network_of_timm_can_be_named() -> None:
    cfg, _ = config.read(["backbone=resnet26t"])
    assert (cfg.backbone.name, cfg.backbone.weights) == ("resnet26t", "imagenet")


def test_an_override_in_a_group_of_choice_is_kept() -> None:
    cfg, _ = config.read(["data=npz", "data.path=x.npz", "data.image_size=96"])
    assert (cfg.data.path, cfg.data.image_size) == ("x.npz", 96)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("strategy=tll", "unknown strategy 'tll'; did you mean 'ttl'"),
        ("data=pnz", "unknown data 'pnz'; did you mean 'npz'"),
        ("protocol=3", "protocol"),
        ("data.image_sise=3", "did you mean 'data.image_size'"),
        ("cutof=3", "did you mean 'cutoff'"),
        ("trainer.max_epoch=3", "did you mean 'trainer.max_epochs'"),
        ("cutoff=block1,block2", "cutoff=block1,block2 gives several values: add -m"),
        ("data.path", "cannot read an override"),
        ("=3", "override"),
        ("data.image_size=[1", "cannot read an override"),
    ],
)
def test_a_mistake_is_named_with_what_comes_nearest(override, text) -> None:
    with pytest.raises(ConfigError) as caught:
        config.read([override])
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_experiment_may_bring_its_sweeper_and_the_command_line_has_the_last_word() -> None:
    def sweeper(*overrides) -> str:
        with initialize_config_module(config.MODULE, version_base=config.VERSION_BASE):
            cfg = compose(config.ROOT, list(overrides), return_hydra_config=True)
        assert cfg.hydra.launcher._target_.startswith("hydra_plugins.ttl_lightning.")
        return cfg.hydra.sweeper._target_.rpartition(".")[2]

    assert sweeper() == "GridSweeper"
    assert sweeper("experiment=compare") == "CompareSweeper"
    assert sweeper("experiment=compare", "hydra/sweeper=halving") == "SearchSweeper"


def test_keys_are_looked_up_in_the_chosen_group() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'data\.label_columns'"):
        config.read(["data=csv", "data.label_column=x"])


def test_a_hydra_that_is_open_stays_so() -> None:
    with initialize_config_module("ttl_lightning.conf", version_base="1.3"):
        config.read(["seed=3"])
        assert compose("config", ["seed=4"]).seed == 4


@pytest.mark.parametrize(
    ("accelerator", "devices", "expected"),
    [
        ("gpu", 1, 1), ("gpu", 4, 4), ("gpu", "2", 2), ("gpu", "0,1,3", 3), ("gpu", [0, 1], 2),
        ("gpu", "auto", None), ("auto", -1, None), ("cpu", "auto", 1),
    ],
)  # fmt: skip
def test_what_a_trainer_asks_for(accelerator, devices, expected) -> None:
    assert config.wanted_devices(accelerator, devices) == expected

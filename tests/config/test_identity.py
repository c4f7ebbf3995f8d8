"""Which keys bear on a run's result: each key of the configuration is on one list or the other."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ttl_lightning.config import compose as config
from ttl_lightning.config import identity
from ttl_lightning.data.sources.registry import SOURCES, today
from ttl_lightning.runs import fingerprint

CONF = Path(__file__).parents[2] / "conf"
DATA = [path.stem for path in sorted((CONF / "data").glob("*.yaml"))]
GROUPS = ("data", "protocol", "trainer", "strategy", "task")
CHOICES = [f"{g}={p.stem}" for g in GROUPS for p in sorted((CONF / g).glob("*.yaml"))]

# What makes another run. A key that is new in conf/ belongs here, or on a list of identity.py.
BEARS = {
    "seed", "cutoff", "backbone.name", "backbone.weights", "strategy.name", "strategy.pooling",
    "task._target_", "task._partial_", "task.class_weights", "task.head",
    *(f"trainer.{key}" for key in (
        "_target_", "devices", "strategy", "max_epochs", "precision", "channels_last",
        "batch_size_finder", "gradient_clip_val", "accumulate_grad_batches",
        "check_val_every_n_epoch", "deterministic", "limit_train_batches", "limit_val_batches",
        "limit_test_batches", "fast_dev_run",
    )),
    *(f"protocol.{key}" for key in (
        "learning_rate", "pretrained_lr_factor", "head_init", "loss", "focal_gamma",
        "scheduler_interval",
        "monitor", "monitor_mode", "lr_floor",
        *("optimizer._target_", "optimizer._partial_", "optimizer.weight_decay",
          "optimizer.momentum", "optimizer.dampening"),
        *("scheduler._target_", "scheduler._partial_", "scheduler.warmup_fraction",
          "scheduler.mode", "scheduler.factor", "scheduler.patience"),
        *("augment._target_", "augment.resize_factor", "augment.crop_scale", "augment.crop_ratio",
          "augment.rotation_degrees", "augment.horizontal_flip", "augment.slice_jitter",
          "augment.views"),
    )),
    *(f"data.{key}" for key in (
        "_target_", "image_size", "in_channels", "batch_size", "classes", "val_fraction",
        "test_fraction", "label_columns", "path_column", "split_column", "patient_column",
        "slice_column", "study_column", "missing", "uncertain",
        "abnormal_column", "dataset", "source_size", "level",
        "difficulty", "balance", "train_size", "val_size", "test_size", "num_slices",
        "window_stride", "windows_per_study", "min_abnormal_slices", "abnormal_fraction",
        "hu_window", "resample_depth", "fit", "eval_view", "tta", "masks", "region", "regions",
        "patch_size", "numbers", "folds", "fold", "partial",
        "observations", "frontal", "views", "one_per_session", "pcr_days", "patch",
        "image_folder", "mask_folder", "image_column", "mask_column",
    )),
}  # fmt: skip
# Where the data lie: what lies there counts.
PLACES = {"data.path", "data.root", "data.labels", "data.lists"}


def leaves(node, prefix=""):
    for key in node:
        value = node[key]
        if OmegaConf.is_dict(value):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key)


def composed(*overrides):
    return config.read(["backbone=test_resnet", "backbone.weights=null", *overrides])[0]


def identity_of(cfg):
    return fingerprint.identity(config.values_of(cfg))


# one choice is quick, and names a key of protocol/ or trainer/ that nobody placed
QUICK = "data=phantom"


@pytest.mark.parametrize(
    "choice",
    [QUICK, *(pytest.param(c, marks=pytest.mark.slow) for c in CHOICES if c != QUICK)],
)
def test_every_key_is_known_to_bear_on_the_result_or_not_to(choice) -> None:
    keys = set(leaves(composed(choice)))
    beside = {key for key in keys if not identity.bears(key)} | identity.OF_OUR_SOURCES | PLACES
    assert not BEARS & beside
    assert not keys - BEARS - beside, "neither in the identity nor how a run is run"


@pytest.fixture
def plain(monkeypatch):
    """A source's identity without a look at its files."""
    for name in SOURCES:
        module, _, kind = today(name).rpartition(".")
        if "phantom" not in module:
            monkeypatch.setattr(f"{module}.{kind}.content", lambda _: {"of": "the files"})


@pytest.mark.slow
@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("data", DATA)
def test_another_value_makes_another_run_just_where_the_lists_say_so(data) -> None:
    cfg = composed(f"data={data}", "trainer=ddp", "strategy=ttl", "cutoff=block2")
    OmegaConf.set_struct(cfg, False)
    before = identity.digest(identity_of(cfg))
    size = 48 if isinstance(cfg.data.image_size, int) else [8, 48, 48]
    others = {"cutoff": "block3", "trainer.devices": 3, "data.in_channels": 1, "seed": 5,
              "trainer.precision": "bf16-mixed", "trainer.channels_last": size != 48,
              "data.image_size": size}  # fmt: skip
    for key in leaves(cfg):
        if key in ("backbone.name", "backbone.weights", "strategy.name", "data._target_"):
            continue
        other = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
        OmegaConf.update(other, key, others.get(key, "another"))
        changed = identity.digest(identity_of(other)) != before
        assert changed == (key in BEARS), key


@pytest.mark.slow
def test_a_key_of_the_users_own_makes_another_run() -> None:
    base = ("data._target_=somewhere.Source",)
    ids = [
        identity.digest(identity_of(composed(*base, *extra)))
        for extra in ((), ("+data.fold=1",), ("+data.fold=2",), ("data.name=two",),
                      ("+trainer.overfit_batches=4",), ("callbacks=early_stopping",),
                      ("callbacks=early_stopping", "callbacks.early_stopping.patience=2"))
    ]  # fmt: skip
    assert len(set(ids)) == len(ids)
    assert identity.digest(identity_of(composed(*base, "data.num_workers=2"))) == ids[0]


def test_a_key_that_came_later_is_the_value_that_does_what_was_done(monkeypatch) -> None:
    old = identity_of(composed())
    monkeypatch.setitem(identity.ADDED, "data.views", 1)
    same, other = (identity_of(composed(f"+data.views={n}")) for n in (1, 5))
    assert same == old
    assert identity.differences(old, other) == ["data.views"]


def test_what_differs_is_named() -> None:
    one = {"seed": 0, "protocol": {"rate": 1.0, "loss": "focal"}, "devices": [1, 2]}
    other = json.loads(json.dumps({**one, "protocol": {"rate": 2.0, "loss": "focal"}, "new": None}))
    assert identity.differences(one, other) == ["new", "protocol.rate"]
    assert identity.differences(one, {**one, "devices": (1, 2)}) == []

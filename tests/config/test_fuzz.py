"""Wrong values for every key of every group, and damaged files for every reader.

Each is refused in one line, soon, and leaves no folder; or it is a value that a run can have.
`pytest -s -m slow tests/test_fuzz.py` prints how many were tried.
"""

from __future__ import annotations

import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig

import ttl_lightning as ttl
from ttl_lightning.config import compose as config
from ttl_lightning.errors import TTLError

SMALL = [
    "backbone=test_resnet", "backbone.weights=null", "trainer.accelerator=cpu", "strategy=ttl",
    "cutoff=block2", "latency=false", "protocol.max_epochs=1", "protocol.batch_size=8",
]  # fmt: skip
PHANTOM = ["data.image_size=32", "data.train_size=16", "data.val_size=8", "data.test_size=8"]
WRONG = (
    "null", "-1", "0", "nan", "1e400", "3.5", "text", "''", "[]", "[1,2]", "[a,b]", "{}", "{a:1}",
    "true", "${nope}", "${seed}", "${oc.env:NO_SUCH_VARIABLE}", "???", "99999999999999999999",
)  # fmt: skip
SOURCES = ("phantom", "csv", "npz", "folder", "volumes", "npz3d", "phantom3d")
ADDED = ("foo", "data.foo", "protocol.foo", "protocol.optimizer.foo", "protocol.augment.foo",
         "trainer.foo", "backbone.foo", "strategy.foo", "task.foo", "protocol.scheduler.foo",
         "trainer.callbacks", "trainer.logger", "callbacks.mine", "logger.foo")  # fmt: skip
MORE = (
    "protocol.optimizer._target_=torch.optim.SparseAdam", "+protocol.optimizer.momentum=-3",
    "protocol.optimizer._target_=torch.optim.Nope", "protocol.optimizer._target_=torch.nn.Linear",
    "protocol.scheduler._target_=torch.optim.lr_scheduler.OneCycleLR",
    "protocol.scheduler._target_=torch.optim.lr_scheduler.StepLR",
    "protocol.scheduler._target_=torch.nn.Linear", "protocol.monitor_mode=best",
    "protocol.monitor_mode=min", "protocol.monitor=test/auroc", "protocol.monitor=val/acc",
    "trainer.accelerator=tpu", "trainer.strategy=nope", "+trainer.strategy=nope", "~seed",
    "~protocol", "data.batch_size=1", "trainer.check_val_every_n_epoch=7", "name=" + 300 * "x",
    "protocol.lr_floor=1.0", "strategy=[ttl,ftl]", "backbone=[]", "callbacks=[early_stopping,nope]",
    "+callbacks.mine._target_=torch.nn.Linear", "+callbacks.mine._target_=no.such.Callback",
    "data._target_=ttl_lightning.data.nope.Nope", "task._target_=no.such.Task",
    "seed=${seed}", "seed=${cutoff}", "cutoff=${seed}", "trainer.devices=5000",
    "hydra.run.dir=null", "data.image_size=9999999", "protocol.augment.crop_scale=[2,3]",
)  # fmt: skip


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in node:
        yield f"{prefix}{key}"
        value = node._get_node(key)
        if isinstance(value, DictConfig):
            yield from keys(value, f"{prefix}{key}.")


def tried(overrides: list[str], folder: Path) -> str:
    """ "refused" or "run"; fails for anything else."""
    started, told = time.monotonic(), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch and Lightning, about what they accept
            ttl.train(overrides=overrides, run_dir=folder)
    except TTLError as error:
        told = str(error)
    except Exception as error:  # noqa: BLE001 - which is what is looked for
        pytest.fail(f"{overrides[-1]}: {type(error).__name__}: {str(error).splitlines()[:1]}")
    if told is None:
        return "run"
    assert "\n" not in told
    assert 10 < len(told) < 2000, told
    # a run that has begun may fail: a rate of 1e30 is a value, and leads nowhere
    if (folder / "result.json").is_file():
        return "failed"
    assert not folder.exists(), "a folder is left"
    assert time.monotonic() - started < 10
    return "refused"


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", ["phantom", "csv", "npz", "folder", "volumes", "npz3d", "phantom3d"]
)
def test_a_wrong_value_of_any_key_is_one_line(data: str, tmp_path: Path) -> None:
    base = [*SMALL, f"data={data}", *(PHANTOM if data == "phantom" else [])]
    if data in ("volumes", "npz3d", "phantom3d"):
        base = [*base, "backbone=resnet3d_10"]
    cfg, _ = config.read(base)
    found = [key for key in keys(cfg) if data == "phantom" or key.startswith("data.")]
    cases = [f"{key}={value}" for key in found for value in WRONG]
    if data == "phantom":
        cases += [f"+{key}={value}" for key in ADDED for value in WRONG] + list(MORE)
    chosen = random.Random(0).sample(cases, min(len(cases), 120 if data == "phantom" else 20))
    chosen += [case for case in MORE if data == "phantom" and case not in chosen]
    counts = Counter(
        tried([*base, case], tmp_path / str(number)) for number, case in enumerate(chosen)
    )
    print(f"\n{data}: {len(chosen)} of {len(cases)} tried: {dict(counts)}")  # noqa: T201
    assert counts["refused"] > 0.7 * len(chosen)

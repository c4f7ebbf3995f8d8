"""`trainer.precision=auto` of a sweep: measured once, the same for all that it compares."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.jobs.process import call
from ttl_lightning.records.files import write_atomically
from ttl_lightning.records.folder import SweepFolder
from ttl_lightning.runs.build import device, network
from ttl_lightning.runtime.bfloat16 import wrong_in_bfloat16
from ttl_lightning.runtime.precision import choose

log = logging.getLogger(__name__)

SCHEMA = 1


def whole(spec: RunSpec) -> RunSpec:
    """What trains the untruncated network of a run, in a precision that is always right."""
    strategy = replace(spec.strategy, name="ftl")
    trainer = replace(spec.trainer, precision="32-true")
    return replace(spec, strategy=strategy, cutoff=None, trainer=trainer)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a sweep trains in.

    Attributes:
        network: what was measured.
        device: where.
        timings_ms: as `runtime.precision.Choice` has them.
    """

    precision: str
    channels_last: bool
    network: str
    device: str
    timings_ms: dict[str, float]

    def overrides(self, spec: RunSpec) -> tuple[str, ...]:
        """What takes the place of `auto` in a job; a layout that is asked for stays."""
        layout = f"trainer.channels_last={str(self.channels_last).lower()}"
        own = spec.trainer.channels_last is not None
        return (f"trainer.precision={self.precision}", *(() if own else (layout,)))

    def write(self, folder: Path) -> None:
        """Keep it in the sweep's folder, for when it is taken up again, here or elsewhere."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"
        write_atomically(SweepFolder(folder).precision, text.encode())

    def check(self, specs: Sequence[RunSpec], folder: Path) -> None:
        """Demand gradients that are right, of networks that came to the sweep later.

        Raises:
            ConfigError: naming the network.
        """
        if not self.precision.startswith("bf16"):
            return
        for spec in specs:
            if wrong := _wrong(spec):
                path = SweepFolder(folder).precision
                raise ConfigError(
                    f"{path} settles trainer.precision=auto as {self.precision}, which gives wrong "
                    f"gradients for {wrong} of {spec.backbone.name} on a CPU: give "
                    "trainer.precision=32-true, or another name=… for another sweep."
                )


def settled(specs: Sequence[RunSpec], folder: Path) -> Settled:
    """What a sweep's folder says, else what the largest network's whole model is fastest in.

    Where bfloat16 is wrong for one of the networks, that one decides for all.

    Args:
        specs: `whole` of the jobs that ask for `auto`, one for each kind of job.
        folder: the sweep's.

    Raises:
        ConfigError: if a GPU is asked for that is not here, or bfloat16 would be wrong.
        DataError: if the folder's file cannot be read, or the process that measures was killed.
    """
    found = read(folder)
    if found is None:
        for spec in specs:
            if spec.trainer.accelerator in ("gpu", "cuda") and device(spec).type != "cuda":
                raise ConfigError(
                    "trainer.precision=auto is measured where a sweep is started, and there is no "
                    f"GPU here for trainer.accelerator={spec.trainer.accelerator}: give the "
                    "precision, such as bf16-mixed."
                )
        try:
            found = call(measured, specs)
        except ChildProcessError as error:
            raise DataError(
                "the process that measured trainer.precision=auto was killed (does the system "
                "lack memory?)."
            ) from error
        where = f"measured with {found.network} on {found.device}"
    else:
        found.check(specs, folder)
        where = f"as {SweepFolder(folder).precision} says"
    layout = ", channels last" if found.channels_last else ""
    log.info("precision of all jobs: %s%s, %s", found.precision, layout, where)
    return found


def measured(specs: Sequence[RunSpec]) -> Settled:
    """Measure the largest network, or the largest of those that bfloat16 is wrong for."""

    def size(spec: RunSpec) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in network(spec.recipe, 2, None).parameters())

    specs = list({repr((spec.recipe, device(spec))): spec for spec in specs}.values())
    spec = max([spec for spec in specs if _wrong(spec)] or specs, key=size)
    model, where = network(spec.recipe, 2, None), device(spec).type
    shape = (spec.data.batch_size or 1, *model.backbone.input_shape(spec.data.spatial))
    choice = choose(model, shape, where, channels_last=spec.trainer.channels_last)
    return Settled(
        choice.precision, choice.channels_last, spec.backbone.name, where, choice.timings_ms
    )


def read(folder: Path) -> Settled | None:
    """What a sweep's folder says; None if nothing.

    Raises:
        DataError: if the file is damaged.
    """
    path = SweepFolder(folder).precision
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") == SCHEMA:
            return Settled(**content)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}; remove it to measure anew.") from error
    raise DataError(f"{path} is not of schema {SCHEMA}; remove it to measure anew.")


def _wrong(spec: RunSpec) -> str | None:
    """The convolution that bfloat16 is wrong for, where it would be used."""
    if device(spec).type != "cpu":
        return None
    model = network(spec.recipe, 2, None)
    return wrong_in_bfloat16(model, model.backbone.input_shape(spec.data.spatial))

"""`ttl-lightning cost`: what each cutoff costs, without data, weights or training.

With `cutoff=…` one row; without, every cutoff that the strategy can take. The overrides are those
of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ttl_lightning.config import compose as config
from ttl_lightning.config import manual

if TYPE_CHECKING:
    from ttl_lightning.config.schema import RunSpec
    from ttl_lightning.models.cost import Complexity
    from ttl_lightning.models.strategies.base import TransferModel

# What a model's cost depends on.
USED = ("backbone", "strategy", "cutoff", "task", "data.image_size", "data.in_channels")
USE = """usage: ttl-lightning cost [KEY=VALUE …]

Parameters, multiply-adds and the stem's share of them for each cutoff, without data or training.

  ttl-lightning cost backbone=resnet50 strategy=ttl

"""


def usage(arguments: Sequence[str]) -> str:
    """The help's text: the choices and keys that a model's cost depends on."""
    return USE + manual.usage(USED, arguments)


def rows(overrides: Sequence[str]) -> Iterator[tuple[str, int, Complexity]]:
    """The unit, its number and the model's cost, for each cutoff asked for.

    Raises:
        TTLError: if the configuration names what there is not.
    """
    from ttl_lightning.models.cost import complexity
    from ttl_lightning.models.strategies import STRATEGIES

    spec = config.typed(config.read(overrides)[0])
    cutoffs: Sequence[str | int | None] = [spec.cutoff]
    named = STRATEGIES.get(spec.strategy.name)
    if spec.cutoff is None and named and named.needs_cutoff:
        cutoffs = _model(spec, "ftl", None).backbone.cutoffs
    for cutoff in cutoffs:
        model = _model(spec, spec.strategy.name, cutoff)
        number = model.backbone.index(model.cutoff)
        size = model.backbone.input_shape(spec.data.spatial)
        yield model.cutoff, number, complexity(model, size)


def _model(spec: RunSpec, strategy: str, cutoff: str | int | None) -> TransferModel:
    from ttl_lightning.models.create import create_model
    from ttl_lightning.runs.parts import task_class

    return create_model(
        spec.backbone.name,
        strategy,
        cutoff,
        task_class(spec).fewest_outputs,
        weights=None,
        pooling=spec.strategy.pooling,
        in_channels=spec.data.in_channels,
        image_size=spec.data.spatial,
        head=spec.task.head,
    )


def run(overrides: Sequence[str]) -> None:
    """Print one row a cutoff.

    Raises:
        TTLError: as in `rows`.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table()
    counted = "parameters", "trained", "MACs", "of convolutions", "stem"
    for column in ("cutoff", "number", *counted, "not counted"):
        table.add_column(column, justify="left" if column in ("cutoff", "not counted") else "right")
    for cutoff, number, cost in rows(overrides):
        uncounted = ", ".join(sorted(op.removeprefix("aten::") for op in cost.unsupported_ops))
        counts = (f"{cost.params / 1e6:.3f} M", f"{cost.trainable_params / 1e6:.3f} M")
        macs = (f"{n / 1e9:.4f} G" for n in (cost.macs, cost.macs_by_op.get("conv", 0)))
        stem = f"{cost.macs_by_unit.get('stem', 0) / cost.macs:.0%}"
        table.add_row(cutoff, str(number), *counts, *macs, stem, uncounted)
    Console(width=max(100, Console().width)).print(table)

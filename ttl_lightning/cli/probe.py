"""`ttl-lightning probe`: what each cutoff promises, before any training.

A linear classifier on the pooled features of every unit of the pretrained network; the overrides
are those of a run. Training and validation images are read, test images are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttl_lightning.config import compose as config
from ttl_lightning.config import manual

USED = ("backbone", "data", "seed", "protocol.augment", "trainer.accelerator")
USE = """usage: ttl-lightning probe [KEY=VALUE …]

A linear classifier on every unit's features of the pretrained network: what each cutoff promises.

  ttl-lightning probe data=folder data.path=FOLDER backbone=resnet50

"""


def usage(arguments: Sequence[str]) -> str:
    """The help's text: the choices and keys that the probes depend on."""
    return USE + manual.usage(USED, arguments)


def run(overrides: Sequence[str]) -> None:
    """Print one row a cutoff, the best one marked.

    Raises:
        TTLError: if the configuration, the data or the weights cannot be used.
    """
    from rich.console import Console
    from rich.table import Table

    from ttl_lightning.interpret.pretrained import probe
    from ttl_lightning.tasks.probes import LABELS

    found = probe(config.typed(config.read(overrides)[0]))
    best = max(found, key=lambda unit: found[unit].score or 0.0)
    table = Table()
    for column in ("cutoff", "number", *(f"validation {m}" for m in LABELS.values()), "penalty"):
        table.add_column(column, justify="left" if column == "cutoff" else "right")
    for number, (unit, result) in enumerate(found.items(), start=1):
        scores = (_shown(result.metrics[f"val/{name}"]) for name in LABELS)
        style = "bold" if unit == best else None
        table.add_row(unit, str(number), *scores, f"{result.penalty:g}", style=style)
    Console(width=max(80, Console().width)).print(table)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"

"""`ttl-lightning latency run=FOLDER`: the time of a run's network beside the whole one's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttl_lightning.cli import arguments as given
from ttl_lightning.exports.options import ENGINES, LatencyOptions

if TYPE_CHECKING:
    from ttl_lightning.models.latency import Latency

USE = f"""usage: ttl-lightning latency run=FOLDER [KEY=VALUE …]

Times a forward pass of a finished run's network and of the untruncated one, by turns, so that a
busy machine slows both alike: the fastest pass, the median and the 95th percentile of many, in
milliseconds, and the ratio of times beside that of multiply-adds.

  ttl-lightning latency run=outputs/RUN image_size=224 quantize=int8

  engine=torch,onnx    which programs run the networks, of {", ".join(ENGINES)}
  batch=1,32           inputs of a pass
  threads=1,2          of the processor; one thread is timed by what it computes, not by its waits
                       (OpenVINO's by the clock)
  image_size=HEIGHT,WIDTH (of volumes SLICES,HEIGHT,WIDTH), in place of the run's own
  quantize=int8        ONNX Runtime with eight-bit numbers, too"""


def usage(arguments: Sequence[str]) -> str:  # noqa: ARG001 - as of every command
    """The help's text."""
    return USE


def run(arguments: Sequence[str]) -> None:
    """Print one row a setting.

    Raises:
        TTLError: if there is no such run, or it cannot be timed so.
    """
    options: LatencyOptions = given.chosen(LatencyOptions, arguments)

    from rich.console import Console
    from rich.table import Table

    from ttl_lightning.exports.timing import Compared, compare, networks
    from ttl_lightning.runs.callbacks.progress import quiet
    from ttl_lightning.runtime.allocator import freed_memory_kept

    table = Table()
    columns = ("cut: min", "median", "p95", "whole: min", "median", "p95", "ratio", "of medians")
    for name in ("engine", "batch", "threads", *columns, "to MACs"):
        table.add_column(name, justify="left" if name == "engine" else "right")
    # as training and `predict` do, on the C library that gives memory back at once
    with quiet(), freed_memory_kept():
        these = networks(options)
        for found in compare(options, these):
            setting = found.setting if isinstance(found, Compared) else found[0]
            where = (setting.engine, str(setting.batch), str(setting.threads))
            if not isinstance(found, Compared):
                table.add_row(*where, f"not measured: {found[1]}")
                continue
            ratio, macs = found.ratio, these.ratio
            excess = None if ratio is None or macs is None else ratio / macs
            ends = (_number(each) for each in (ratio, found.ratio_of_medians, excess))
            table.add_row(*where, *_times(found.cut), *_times(found.whole), *ends)
    shape = " × ".join(map(str, these.size))
    counted = " and ".join(f"{macs / 1e9:.4f} G" for macs in these.macs)
    beside = "" if these.ratio is None else f", cut and whole: a ratio of {these.ratio:.3f}"
    console = Console(width=max(130, Console().width))
    console.print(table)
    console.print(f"milliseconds; inputs of {shape}; multiply-adds {counted}{beside}", style="dim")


def _times(one: Latency | None) -> tuple[str, str, str]:
    if one is None:
        return ("", "", "")
    return (f"{one.min:.2f}", f"{one.median:.2f}", "–" if one.p95 is None else f"{one.p95:.2f}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

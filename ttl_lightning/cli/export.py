"""`ttl-lightning export run=FOLDER format=…`: a finished run as a file that others load."""

from __future__ import annotations

from collections.abc import Sequence

from ttl_lightning.cli import arguments as given
from ttl_lightning.exports.options import FORMATS, ExportOptions

USE = f"""usage: ttl-lightning export run=FOLDER format={"|".join(FORMATS)} [KEY=VALUE …]

  onnx         an ONNX file, for any batch
  pt2          a program of torch.export, likewise
  safetensors  tensors under the network's own names
  timm         a folder for timm.create_model("local-dir:…"), where timm has the network
  bundle       a MONAI bundle, for python -m monai.bundle run

Each lies in a folder with a card for programs (card.json) and one for people (README.md), is loaded
again in a process of its own, and is kept if its probabilities are those of the run.

  output=FOLDER          where to (the run's exports/FORMAT)
  preprocessing=inside   onnx, pt2: takes stored images of 0 to 1; none: the network's own input
  quantize=int8          onnx: eight-bit numbers, and what they change in every metric
  calibration=256        training images that int8's ranges are measured on
  overwrite=false        true: replace an export that is there
  images=FOLDER          compare on these, where the run's data are gone
  data.KEY=VALUE         where the data have moved since the run"""


def usage(arguments: Sequence[str]) -> str:  # noqa: ARG001 - as of every command
    """The help's text."""
    return USE


def run(arguments: Sequence[str]) -> None:
    """Export, and print what was written and how far it is from the run.

    Raises:
        TTLError: if it cannot be exported, or differs.
    """
    overrides, others = given.of_data(arguments)
    options: ExportOptions = given.chosen(ExportOptions, others)

    from ttl_lightning.exports.export import export
    from ttl_lightning.runs.callbacks.progress import quiet

    with quiet():
        lines = export(options, overrides)
    for line in lines:
        print(line)  # noqa: T201 - a command's output

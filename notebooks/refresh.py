"""Execute notebooks in an empty folder, and keep of their outputs what renders on a code host.

python notebooks/refresh.py notebooks/*.ipynb
"""

from __future__ import annotations

import base64
import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

ANSI = re.compile(r"\x1b\[[0-9;]*m")
COLORS = 48  # of a figure, so that a notebook stays below 100 kB


def executed(path: Path) -> Any:  # noqa: ANN401 - nbformat's own type has no names
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=3600, record_timing=False, resources=where).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined([kept for one in cell.outputs if (kept := rendering(one))])
    return notebook


def rendering(output: Any) -> Any:  # noqa: ANN401
    """The output without what does not render; None if nothing is left."""
    if output.output_type == "stream":
        output.text = ANSI.sub("", output.text)
        return output if output.name == "stdout" else None
    output.metadata = {}
    data = output.data
    if "dataframe" not in data.get("text/html", ""):  # rich's tables are text as well
        data.pop("text/html", None)
    lines = ANSI.sub("", data["text/plain"]).splitlines()
    data["text/plain"] = "\n".join(line.rstrip() for line in lines)
    if "image/png" in data:
        data.pop("text/html", None)
        data["text/plain"] = "<Figure>"
        data["image/png"] = smaller(data["image/png"])
    return output


def joined(outputs: list[Any]) -> list[Any]:
    """What was printed in pieces as one text."""
    kept: list[Any] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        elif kept and all(
            one.get("data", {}).keys() == {"text/plain"} for one in (kept[-1], output)
        ):
            kept[-1].data["text/plain"] += "\n" + output.data["text/plain"]
        else:
            kept.append(output)
    return kept


def smaller(encoded: str) -> str:
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    content = io.BytesIO()
    few = picture.quantize(COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        nbformat.write(executed(Path(name)), name)

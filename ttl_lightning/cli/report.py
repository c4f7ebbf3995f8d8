"""`python -m ttl_lightning.report multirun/NAME`: the report of a sweep."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ttl_lightning.errors import USAGE, TTLError


def main() -> None:
    """Write the report; a folder that is no sweep's is one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m ttl_lightning.report",
        description="Write report.html, its tables and figures into the folder of a sweep.",
    )
    parser.add_argument("folder", type=Path, help="of the sweep, such as multirun/NAME")
    folder = parser.parse_args().folder
    from ttl_lightning.report.sweep import write
    from ttl_lightning.report.terminal import show
    from ttl_lightning.report.text import one_line

    try:
        summary = write(folder)
    except (TTLError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)  # noqa: T201 - a command's output
        sys.exit(USAGE)
    show(summary)


if __name__ == "__main__":
    main()

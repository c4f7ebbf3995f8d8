"""The user's own networks that a command has named, for this process and those that it starts."""

from __future__ import annotations

import os

NAMED = "TTL_LIGHTNING_NETWORKS"
"""An environment variable: full names such as mypackage.net that may be imported, by commas."""


def remember(name: str) -> None:
    """Let what makes a network be imported by its full name."""
    known = [one for one in os.environ.get(NAMED, "").split(",") if one]
    os.environ[NAMED] = ",".join(dict.fromkeys((*known, name)))

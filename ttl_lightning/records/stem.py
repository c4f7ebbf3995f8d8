"""Where a cut saves parameters but little computing, because the stem costs most of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The stem is named from this share of the model's MACs on, where the share of MACs that a cut saves
# is below this fraction of the share of parameters.
STEM_SHARE = 0.25
SAVED_FRACTION = 0.5


def stem_note(complexity: Mapping[str, Any]) -> str:
    """One sentence, or nothing where computing shrinks with the parameters.

    Args:
        complexity: a run's, with that of the untruncated network.
    """
    whole, by_unit = complexity.get("untruncated"), complexity.get("macs_by_unit")
    if not whole or not by_unit or not complexity["macs"]:
        return ""
    stem = by_unit.get("stem", 0) / complexity["macs"]
    params, macs = (1 - complexity[key] / whole[key] for key in ("params", "macs"))
    if stem < STEM_SHARE or macs >= SAVED_FRACTION * params:
        return ""
    return (
        f"the cut saves {params:.0%} of the parameters but only {macs:.0%} of the MACs: the stem, "
        f"which every cutoff keeps, costs {stem:.0%} of what is left."
    ).replace("%", " %")

from __future__ import annotations

from typing import Any

import pytest

from ttl_lightning.records.stem import stem_note


def cost(params: float, macs: float, stem: float = 0, **whole: Any) -> dict[str, Any]:
    return {"params": params, "macs": macs, "macs_by_unit": {"stem": stem, "head": 1}, **whole}


FULL = cost(47.53e6, 42.53e9)


def test_the_papers_volumes_cut_at_block3() -> None:
    assert stem_note(cost(31.21e6, 40.97e9, 14.63e9, untruncated=FULL)) == (
        "the cut saves 34 % of the parameters but only 4 % of the MACs: the stem, which every "
        "cutoff keeps, costs 36 % of what is left."
    )


@pytest.mark.parametrize(
    "complexity",
    [
        pytest.param(cost(0.3e6, 14.7e9, 14.63e9, untruncated=FULL), id="computing shrinks too"),
        pytest.param(cost(31.21e6, 40.97e9, 4e9, untruncated=FULL), id="a cheap stem"),
        pytest.param(cost(31.21e6, 40.97e9, 14.63e9, untruncated=None), id="nothing beside it"),
        pytest.param({"params": 1, "macs": 1, "untruncated": FULL}, id="an older result"),
        pytest.param({}, id="not measured"),
    ],
)
def test_nothing_to_say(complexity: dict[str, Any]) -> None:
    assert stem_note(complexity) == ""

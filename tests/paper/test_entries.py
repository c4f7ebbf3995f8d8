"""Every table and figure: commands that can be composed, and rows that name what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttl_lightning.cli import cost
from ttl_lightning.config import compose as config
from ttl_lightning.paper.chain import Chain
from ttl_lightning.paper.entries import ENTRIES
from ttl_lightning.paper.entry import Entry


def composed(chain: Chain, sweep) -> None:
    """As a job would be: of what is swept the first value, without the search's own keys."""
    chosen = []
    for argument in chain.arguments(sweep):
        key, _, value = argument.partition("=")
        if not key.startswith("hydra"):
            chosen.append(f"{key}={value if value.startswith('[') else value.split(',')[0]}")
    config.typed(config.read(chosen)[0])


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
@pytest.mark.parametrize("scale", ["full", "small"])
def test_every_command_can_be_composed(entry: Entry, scale: str, tmp_path: Path) -> None:
    given = ("data.path=/data",) if scale == "full" else ()
    chain = Chain(entry, tmp_path, scale, given)
    for sweep in entry.sweeps:
        if sweep.after is None:
            composed(chain, sweep)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_rows_and_analyses_are_of_the_entrys_own_sweeps(entry: Entry) -> None:
    names = {sweep.name for sweep in entry.sweeps}
    picks = [row.pick for row in entry.rows]
    picks += [pick for one in entry.analyses for pick in (one.of, *one.others)]
    assert {pick.sweep for pick in picks} <= names
    assert len({row.label for row in entry.rows}) == len(entry.rows)
    for sweep in entry.sweeps:
        assert sweep.after is None or sweep.after in names


def test_the_names_are_those_of_the_papers_tables_and_figures() -> None:
    assert list(ENTRIES) == [
        "table1", "table2_midog", "table2_pe", "table2_lungs", "table3", "fig4i", "fig4ii", "fig6",
        "fig7", "fig8", "fig9", "gradcam",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "params_m", "macs_g"),
    [
        ("table1_ftl", 23.5, 4.12), ("table1_ttl1", 8.55, 3.31), ("table1_ttl2", 6.31, 2.87),
        ("table1_tf", 12.9, 3.56), ("table3_resnet50_ttl", 8.55, 3.31),
        ("table3_densenet121_ttl", 1.53, 2.11), ("table3_efficientnet_b0_ftl", 3.63, 0.378),
        ("table3_efficientnet_b0_ttl", 0.896, 0.255), ("volumes_penet", 28.40, 33.2),
    ],
)  # fmt: skip
def test_a_row_has_the_papers_size(experiment: str, params_m: float, macs_g: float) -> None:
    ((_, _, found),) = cost.rows([f"experiment={experiment}", "data=phantom"] if "volumes" not in
                                 experiment else [f"experiment={experiment}"])  # fmt: skip
    assert found.params / 1e6 == pytest.approx(params_m, rel=0.005)
    assert found.macs / 1e9 == pytest.approx(macs_g, rel=0.03)

import html
import re

import pytest

from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.pages.table import Cell, Table, latex
from ttl_lightning.report.compare import Choice, Row
from ttl_lightning.report.methods import group
from ttl_lightning.report.tables import full_table, main_table
from ttl_lightning.tasks.classification_report import CLASSIFICATION

ODD = "a_b & 5% <script>|"


@pytest.fixture
def rows(run):
    runs = [run("ftl", None, seed, test=0.8, params=9000) for seed in (0, 1)]
    runs += [run("ttl", "block2.1", 0, test=0.9, params=100)]
    ftl, ttl = group(runs)[0].methods
    found = Comparison(0.1, (0.09 / 1.96) ** 2, 0.0, 4.0, (3, 3), 50)
    alone = Comparison(0.2, (0.09 / 1.96) ** 2, 0.0, None, (1, 3), 50)
    return [
        Row(Choice(ftl, ""), None, {}, (), ""),
        Row(Choice(ttl, ""), ftl, {"auroc": found, "auprc": alone}, (), ""),
    ]


def test_the_table_has_each_strategy_its_costs_and_its_difference(rows) -> None:
    table = main_table(rows, CLASSIFICATION)
    texts = [[cell.whole for cell in row] for row in table.rows]
    assert texts == [
        ["full finetuning", "–", "2", "0.800 ± 0.000", "0.800 ± 0.000", "9.00 k", "90.0 k", "90 %",
         "–", "–", "–", "–"],
        ["TTL (truncated)", "block2.1", "1", "0.900 ± –", "0.900 ± –", "100", "1.00 k", "1.0 %",
         "+0.100 (+0.010 to +0.190)", "0.029 (better)",
         "+0.200 (test samples alone: +0.110 to +0.290)", "– (one seed)"],
    ]  # fmt: skip
    assert len(table.columns) == 12
    assert [cell.bold for cell in table.rows[1]] == [False] * 3 + [True] * 5 + [False] * 4
    assert not any(cell.bold for cell in table.rows[0])


def test_without_full_finetuning_there_are_no_columns_for_differences(rows) -> None:
    ttl = rows[1]
    table = main_table([Row(ttl.choice, None, {}, (), "")], CLASSIFICATION)
    assert len(table.columns) == len(table.rows[0]) == 8


def test_unknown_costs_are_dashes_and_never_the_best(run) -> None:
    empty, other = run(cutoff="a", test=None), run("tf", "a", params=5000)
    empty.result.complexity.clear()
    methods = group([empty, other])[0].methods
    table = main_table([Row(Choice(m, ""), None, {}, (), "") for m in methods], CLASSIFICATION)
    by_name = {row[0].text: row[3:] for row in table.rows}
    assert {(cell.text, cell.bold) for cell in by_name["TTL (truncated)"]} == {("–", False)}
    assert all(cell.bold for cell in by_name["TransFusion"])


def test_latencies_that_noise_may_have_made_different_are_all_bold(run) -> None:
    runs = [run("ftl", None, ratio=1.0), run("ttl", "a", ratio=0.52), run("tf", "a", ratio=0.5)]
    runs += [run("lwft", "a", ratio=None)]

    def bold():
        methods = group(runs)[0].methods
        table = main_table([Row(Choice(m, ""), None, {}, (), "") for m in methods], CLASSIFICATION)
        assert table.columns[7] == "CPU latency (of the whole)"
        return {row[0].text: row[7].text for row in table.rows if row[7].bold}

    assert bold() == {"TTL (truncated)": "52 %", "TransFusion": "50 %"}
    runs[1].result.complexity["latency_ms"]["cpu"]["ratio"] = 0.65
    assert bold() == {"TransFusion": "50 %"}
    # the noise that its run measured covers the difference again
    runs[1].result.complexity["latency_ms"]["cpu"]["noise"] = 0.2
    assert set(bold()) == {"TTL (truncated)", "TransFusion"}
    # so does another seed
    runs[1].result.complexity["latency_ms"]["cpu"]["noise"] = 0.01
    runs.append(run("ttl", "a", 1, ratio=0.5))
    assert set(bold()) == {"TTL (truncated)", "TransFusion"}


def test_markdown_keeps_its_columns_and_runs_nothing() -> None:
    lines = Table(("a", "b"), [[Cell(ODD), Cell("1", bold=True)]], names=1).markdown().split("\n")
    assert lines[:2] == ["| a | b |", "| --- | ---: |"]
    assert len(re.findall(r"(?<!\\)\|", lines[2])) == 3
    assert r"\<script>" in lines[2]
    assert lines[2].endswith("**1** |")
    assert "(< 0.1)" in Table(("a",), [[Cell("x", aside="(< 0.1)")]]).markdown()


def test_latex_escapes_what_it_would_obey() -> None:
    text = Table(("a", "b"), [[Cell(ODD), Cell("1 ± –", bold=True)]], names=1).latex()
    assert r"a\_b \& 5\% $<$script$>$| & \textbf{1 $\pm$ --} \\" in text
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule")
    assert latex(r"\input{x}~^$#") == (
        r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}\$\#"
    )


def test_html_is_inert() -> None:
    page = Table((ODD, "b"), [[Cell(ODD), Cell(ODD, aside=ODD)]]).html()
    assert "<script>" not in page
    assert page.count(html.escape(ODD)) == 4


def test_the_full_table_marks_the_chosen(run) -> None:
    (found,) = group([run(cutoff="a", place=1), run(cutoff="b", place=2), run("ftl", None)])
    table = full_table(found, [Choice(found.methods[2], ""), Choice(found.methods[0], "")])
    assert [row[1].text for row in table.rows] == ["–", "a", "b ✓"]
    assert table.columns[3:7] == (
        "validation AUROC", "validation AUPRC", "test AUROC", "test AUPRC",
    )  # fmt: skip
    assert {len(row) for row in table.rows} == {len(table.columns)}

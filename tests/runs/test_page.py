"""A run's page: all of it in one file, whatever the result holds."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.sweep import write
from ttl_lightning.runs.page import run_page

EVIL = '<script>alert(1)</script><img src=x onerror="alert(1)">'


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)


def test_the_page_has_the_results_numbers_and_pictures(cut: Path) -> None:
    page = Page((cut / "run.html").read_text())
    result = json.loads((cut / "result.json").read_text())
    assert f"auroc {result['metrics']['val/auroc']:.3f} {result['metrics']['test/auroc']:.3f}" in (
        page.text
    )
    (at,) = result["operating"]["thresholds"].values()
    assert f"above {at:.3f} (youden)" in page.text
    sources = [str(attrs["src"]) for tag, attrs in page.tags if tag == "img"]
    assert len(sources) == 6  # curves, ROC, PR, confusion, reliability, the most wrong
    assert all(source.startswith("data:image/") for source in sources)
    assert str(result["overrides"][0]) in page.text


def test_nothing_is_fetched_and_nothing_runs(cut: Path) -> None:
    result = RunResult.load(cut)
    result.notes["x"] = EVIL
    result.overrides.append(EVIL)
    page = Page(run_page(cut, result, {}))
    assert "script" not in [tag for tag, _ in page.tags]
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert page.text.count("<script>alert(1)</script>") == 2


@pytest.mark.slow
def test_a_sweeps_page_leads_to_its_runs(cut: Path, full: Path, tmp_path: Path) -> None:
    for name, run in (("a b", cut), ("c", full)):
        (tmp_path / name).mkdir()
        for file in ("result.json", "run.html", "predictions.csv"):
            (tmp_path / name / file).write_bytes((run / file).read_bytes())
    write(tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert sorted(map(str, links)) == ["a%20b/run.html", "c/run.html"]

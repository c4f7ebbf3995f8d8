import json
import re
from html.parser import HTMLParser

import pytest

from ttl_lightning.report.sweep import write


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.style = False
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.style = tag == "style"

    def handle_data(self, data):
        if not self.style:
            self.words.append(data)
        self.style = False


def read(sweep_folder) -> Page:
    return Page(write(sweep_folder.root).page.read_text(encoding="utf-8"))


@pytest.fixture
def page(sweep_folder, result, monkeypatch):
    """A sweep with a search, a failure and paused runs."""
    monkeypatch.chdir(sweep_folder.root.parent)
    for seed in (0, 1, 2):
        run = result("ftl", None, seed, val=0.75, params=9000)
        sweep_folder.add(f"ftl/{seed}", run, signal=0.5)
    sweep_folder.add("ftl/3", result("ftl", None, 3, val=0.75, params=9000))
    for seed, val in enumerate((0.8, 0.95, 0.85)):
        run = result("ttl", "block1.1", seed, val=val, params=90)
        sweep_folder.add(f"ttl/block1.1/seed{seed}", run, signal=2.5)
    sweep_folder.add("broken", result(status="failed", error="OSError: disk is full"))
    path = sweep_folder.root / "broken" / "result.json"
    content = json.loads(path.read_text()) | {"log_tail": ["epoch 1", "epoch 2"]}
    path.write_text(json.dumps(content))
    for name in ("p", "q"):
        sweep_folder.add(name, result(status="paused"))
    sweep_folder.search()
    return read(sweep_folder)


def test_it_says_what_to_take_and_why(page) -> None:
    assert (
        "Take TTL (truncated) at block1.1: better than full finetuning in test AUROC" in page.text
    )
    assert "1.0 % of its parameters" in page.text
    assert "Nothing was chosen on the test split" in page.text
    assert "TTL (truncated) at block1.1 : It was asked for." in page.text
    assert "120 test samples" in page.text
    assert "by DeLong for AUROC" in page.text
    assert "by Holm's procedure" in page.text
    assert "compared over 3 seeds of its own and 3 of full finetuning" in page.text


@pytest.mark.slow
def test_one_seed_is_said_to_tell_nothing_of_training(sweep_folder, result) -> None:
    sweep_folder.add("ftl", result("ftl", None), signal=0.5)
    sweep_folder.add("ttl", result(val=0.95), signal=2.5)
    page = read(sweep_folder)
    assert "better than full finetuning" not in page.text
    assert "One seed does not tell what training anew would come to" in page.text
    assert "test samples alone: +0." in page.text
    assert "p = " not in page.text
    assert "p < " not in page.text


@pytest.mark.slow
def test_it_loads_the_best_seed(page) -> None:
    assert "ttl.load('sweep/ttl/block1.1/seed1')" in page.text
    assert "checkpoint is not in the folder" in page.text


@pytest.mark.slow
def test_it_lists_what_failed_with_its_log_and_counts_the_rest(page) -> None:
    assert "broken OSError: disk is full" in page.text
    assert "epoch 1 epoch 2" in page.text
    assert "10 runs: 7 completed, 1 failed, 2 stopped early by the search." in page.text


@pytest.mark.slow
def test_it_needs_no_network_and_runs_nothing(page) -> None:
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    sources = [value for _, attrs in page.tags for key, value in attrs.items()
               if key in ("src", "href", "srcset")]  # fmt: skip
    assert len(sources) == 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


@pytest.mark.slow
def test_tables_scroll_in_their_own_container(page) -> None:
    names = [(tag, attrs.get("class")) for tag, attrs in page.tags]
    tables = [place for place, (tag, _) in enumerate(names) if tag == "table"]
    assert len(tables) == 2
    assert all(names[place - 1] == ("div", "scroll") for place in tables)


EVIL = "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)>\"'"


def test_what_results_say_is_text(sweep_folder, result) -> None:
    run = result(EVIL, EVIL, data=EVIL, backbone=EVIL, overrides=[f"a={EVIL}"])
    sweep_folder.add("a", run)
    sweep_folder.add("b", result(EVIL, "x", data=EVIL, backbone=EVIL, overrides=["a=2"]))
    sweep_folder.add(f"c <script>{'d' * 9}", result(status="failed", error=EVIL))
    path = sweep_folder.root / f"c <script>{'d' * 9}" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"log_tail": [EVIL]}))
    odd = sweep_folder.root / "<img src=y>"
    odd.mkdir()
    (odd / "result.json").write_text(json.dumps({"schema": EVIL}))
    sweep_folder.search(trials=[{"folders": ["a"]}], choice=EVIL, reason=EVIL)
    page = read(sweep_folder)
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert tags.count("img") == 4
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert page.text.count("<script>alert(1)</script>") >= 5
    assert "<img src=y>" in page.text


@pytest.mark.slow
def test_several_data_sets_are_listed_first_with_links(sweep_folder, result) -> None:
    sweep_folder.add("a", result(data="one"))
    sweep_folder.add("b", result(data="two"))
    page = read(sweep_folder)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert links == [f"#{name}" for name in ids] == ["#s1", "#s2"]


@pytest.mark.slow
def test_what_is_left_out_is_said(sweep_folder, result) -> None:
    sweep_folder.add("a", result())
    sweep_folder.add("b", result())
    for cutoff in ("x", "y"):
        sweep_folder.add(cutoff, result("tf", cutoff, val=None))
    (sweep_folder.root / "search.json").write_text("{")
    page = read(sweep_folder)
    assert "1 run left out, as another folder has the same method and seed: b." in page.text
    assert "TransFusion: no run has a validation AUPRC to choose by." in page.text
    assert re.search(r"1 file that could not be read search\.json : search\.json cannot", page.text)
    assert "There is no full finetuning to compare it with." in page.text
    assert "The number of test samples is unknown" in page.text


@pytest.mark.slow
def test_full_finetuning_that_predicts_one_class_alone_is_named(sweep_folder, result) -> None:
    for seed in (0, 1):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed))
        sweep_folder.predictions(f"ftl{seed}", 0.3 + 0.1 * sweep_folder.sick)
        sweep_folder.add(f"ttl{seed}", result(seed=seed, val=0.95), signal=2.5)
    page = read(sweep_folder)
    assert (
        "No recommendation: full finetuning has not learnt (predicts one class alone, in 2 of 2"
        in page.text
    )
    assert "Take " not in page.text
    assert "while another has 20 % of them or more" in page.text


@pytest.mark.slow
def test_a_training_that_was_cut_off_while_it_rose_is_named(sweep_folder, result) -> None:
    for seed in (0, 1, 2):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed), signal=2.0)
        sweep_folder.add(f"ttl{seed}", result(seed=seed, val=0.95), signal=2.5)
    history = sweep_folder.root / "ftl1" / "metrics.csv"
    history.write_text("epoch,val/auprc\n0,0.5\n1,0.9\n")
    page = read(sweep_folder)
    assert "full finetuning has learnt, but not in every seed: was still improving" in page.text
    assert "No recommendation" not in page.text

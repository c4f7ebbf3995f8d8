"""Comparisons over jobs that a table stands for: what is tuned, what is trained with all seeds."""

import json
import math
from pathlib import Path

import pytest

from ttl_lightning.errors import ConfigError, TTLError, UnknownNameError
from ttl_lightning.jobs.job import Job
from ttl_lightning.jobs.plan import Plan, cutoffs_of
from ttl_lightning.jobs.session import Session
from ttl_lightning.jobs.tuning import axes_of, check_factors, tuned
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import collect
from ttl_lightning.report.compare import choose
from ttl_lightning.report.methods import group
from ttl_lightning.search import Compare

METRIC = "val/auprc"
FACTORS = (0.3, 1.0, 3.0)
FOLDER = Path("multirun/default")


class World:
    """A launcher whose jobs score what a function of their configuration says."""

    def __init__(self, score) -> None:
        self.score = score
        self.launched: list[tuple] = []

    def launch(self, batch, first) -> None:
        for job, _ in batch:
            if not job.settled(since=1e12):
                self.run(job)

    def run(self, job: Job) -> None:
        spec = job.spec
        rate = float(spec.protocol.learning_rate)
        self.launched.append((spec.strategy.name, spec.cutoff, rate, spec.seed))
        score = self.score(*self.launched[-1])
        result = RunResult(
            "n", "phantom", "test_resnet", spec.strategy.name, spec.cutoff, 1, spec.seed,
            metrics={METRIC: score, "test/auroc": 0.5, "test/auprc": 0.5}, train={"epochs": 1},
            status="failed" if score is None else "completed", overrides=list(job.overrides),
            config_sha256=job.fingerprint,
        )  # fmt: skip
        job.folder.mkdir(parents=True, exist_ok=True)
        result.save(job.folder)


@pytest.fixture
def compare(composed, small):
    """Run a comparison, and give what was launched; the folder stays from one to the next."""

    def run(score, *arguments, budget=5, metric=METRIC) -> list[tuple]:
        world = World(score)
        ours = Session(composed, world.launch, FOLDER.absolute())
        ours.compare([*small, *arguments], Compare(budget), FACTORS, metric)
        return world.launched

    return run


def entries() -> dict[str, dict]:
    found = json.loads((FOLDER / "search.json").read_text())["searches"]
    return {entry["strategy"]: entry for entry in found}


def ideal(strategy, cutoff, rate, _seed=0) -> float:
    """Best at a rate of its own for each strategy, and at block2.1."""
    best = {"ftl": 3e-4, "ttl": 3e-3, "ffe": 1e-3}[strategy]
    return 0.9 - 0.1 * abs(math.log10(rate / best)) - 0.05 * (cutoff not in (None, "block2.1"))


@pytest.mark.slow
def test_every_strategy_takes_the_same_number_of_trainings(compare) -> None:
    launched = compare(ideal, "strategy=ftl,ffe,ttl", "seed=3,4", budget=4)
    for strategy in ("ftl", "ffe", "ttl"):
        assert len({run for run in launched if run[0] == strategy and run[3] == 3}) == 4
    chosen = {(s, e["choice"], float(e["chosen"]["overrides"][0].partition("=")[2]))
              for s, e in entries().items()}  # fmt: skip
    assert {(*setting, 4) for setting in chosen} == {run for run in launched if run[3] == 4}
    assert len(launched) == len(set(launched)) == 3 * (4 + 1)


def test_the_first_seeds_best_is_chosen_and_the_report_takes_it(compare) -> None:
    def lucky(strategy, cutoff, rate, seed):  # the second seed is bad for what was chosen
        return ideal(strategy, cutoff, rate) - 0.5 * seed

    launched = compare(lucky, "strategy=ftl,ttl", "seed=0,1", budget=3)
    sweep = collect(FOLDER)
    choices = {
        choice.method.strategy: choice for choice in choose(*group(sweep.runs), sweep.searches)
    }
    for strategy, entry in entries().items():
        runs = [run for run in launched if run[0] == strategy and run[3] == 0]
        _, cutoff, rate, _ = max(runs, key=lambda run: ideal(*run))
        (override,) = entry["chosen"]["overrides"]
        assert entry["choice"] == entry["chosen"]["cutoff"] == cutoff
        assert float(override.removeprefix("protocol.learning_rate=")) == rate
        assert f"{override} scored best" in entry["reason"]
        assert "of 3 settings tried (budget 3" in entry["reason"]
        assert "Scores are val/auprc of seed=0" in entry["reason"]
        assert entry["options"] == {"budget": 3}
        assert [trial["stage"] == "seeds" for trial in entry["trials"]] == [False] * 3 + [True]
        method = choices[strategy].method
        assert (method.cutoff, method.tuned) == (cutoff, (override,))
        assert [run.folder for run in method.runs] == entry["chosen"]["folders"]
        assert choices[strategy].reason == entry["reason"]


@pytest.mark.slow
def test_the_same_command_again_runs_nothing_and_a_larger_budget_only_what_is_new(compare) -> None:
    options = ("strategy=ttl", "seed=0,1")
    before = compare(ideal, *options, budget=2)
    written = (FOLDER / "search.json").read_text()
    assert compare(ideal, *options, budget=2) == []
    assert (FOLDER / "search.json").read_text() == written
    more = compare(ideal, *options, budget=4)
    assert more
    assert not {*more} & {*before}


@pytest.mark.slow
def test_the_command_lines_own_lists_win(compare) -> None:
    options = ("strategy=ttl", "cutoff=block1,block3", "seed=0", "trainer.max_epochs=1,2",
               "protocol.learning_rate=1e-3")  # fmt: skip
    launched = compare(ideal, *options, budget=9)
    assert {(cutoff, rate) for _, cutoff, rate, _ in launched} == {
        ("block1.1", 1e-3), ("block3.1", 1e-3)
    }  # fmt: skip
    assert len(launched) == 4
    assert "there are no more" in entries()["ttl"]["reason"]


@pytest.mark.slow
def test_what_changes_the_comparison_is_compared_apart(compare) -> None:
    compare(ideal, "strategy=ftl", "data.image_size=32,64", budget=1)
    found = json.loads((FOLDER / "search.json").read_text())["searches"]
    assert [len(entry["trials"]) for entry in found] == [1, 1]


def test_where_nothing_could_be_scored_no_seed_is_wasted(compare) -> None:
    launched = compare(lambda *_: None, "strategy=ftl", "seed=0,1", budget=1)
    assert {seed for *_, seed in launched} == {0}
    entry = entries()["ftl"]
    assert (entry["choice"], entry["chosen"]) == (None, None)
    assert "could be scored" in entry["reason"]


@pytest.mark.parametrize(
    ("arguments", "options", "kind"),
    [
        (("strategy=ttl",), {"metric": "test/auprc"}, UnknownNameError),
        (("strategy=ttl", "cutoff=block1,blok2"), {}, TTLError),
        (("strategy=ftl", "cutoff=block1"), {}, TTLError),
        (("strategy=ftl", "protocol.learning_rate=1e-3,0"), {}, ConfigError),
        (("strategy=ftl", "protocol.lerning_rate=1e-3,1e-2"), {}, UnknownNameError),
    ],
)
def test_a_mistake_is_told_before_anything_runs(compare, arguments, options, kind) -> None:
    with pytest.raises(kind):
        compare(ideal, *arguments, **options)
    assert not FOLDER.exists()


def test_swept_keys_of_training_are_tuned_and_the_last_word_counts() -> None:
    swept, others = tuned(
        ["protocol.learning_rate=1e-3,1e-2", "+trainer.x=1,2", "seed=0,1", "strategy=ftl",
         "strategy=ftl,ttl", "data.image_size=32,64", "trainer.max_epochs=3",
         "protocol.learning_rate=1e-4,1e-5"]
    )  # fmt: skip
    assert swept == {"protocol.learning_rate": ("0.0001", "1e-05"), "+trainer.x": ("1", "2")}
    assert others == ["seed=0,1", "strategy=ftl,ttl", "data.image_size=32,64",
                      "trainer.max_epochs=3"]  # fmt: skip


@pytest.mark.parametrize("protocol", ["fast", "2d"])
def test_rates_are_multiples_of_the_protocols_and_cutoffs_the_blocks_ends(
    composed, small, protocol
) -> None:
    (ttl,) = Plan(composed).groups([*small, "strategy=ttl", f"protocol={protocol}"])
    order = list(cutoffs_of(ttl))
    rates, cutoffs = axes_of(ttl, {}, FACTORS, order)
    own = float(ttl.spec.protocol.learning_rate)
    assert list(map(float, rates.values)) == pytest.approx([0.3 * own, own, 3 * own])
    assert cutoffs.values == ("block1.1", "block2.1", "block3.1", "block4.1")
    assert cutoffs.beyond("block1.1", -1) == "stem"


@pytest.mark.parametrize("given", [None, "1,2", [], [0], [1, -1], [1, "x"], [True], 3])
def test_factors_are_a_list_of_positive_numbers(given) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.rates must list positive numbers"):
        check_factors(given)

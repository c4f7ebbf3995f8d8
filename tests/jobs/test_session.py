"""Searches and grids over jobs that a table stands for."""

import csv
import json
from pathlib import Path

import pytest

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.jobs import rounds
from ttl_lightning.jobs.job import Job
from ttl_lightning.jobs.prediction import PredictedByProbes
from ttl_lightning.jobs.session import Session, run_session
from ttl_lightning.records.schema import RunResult
from ttl_lightning.search import Exhaustive, Halving, Hierarchical, Incremental

METRIC = "val/auprc"
CUTOFFS = ("stem", "block1.1", "block2.1", "block3.1", "block4.1")


class World:
    """A launcher whose jobs give what a table says.

    Attributes:
        launched: for every launch the strategy, cutoff, seed and pause of each job that ran.
    """

    def __init__(self, table) -> None:
        self.table = table
        self.launched: list[list[tuple]] = []

    def launch(self, batch, first) -> None:
        ran = []
        for job, _ in batch:
            if job.settled(since=1e12):
                continue
            ran.append(
                (job.spec.strategy.name, job.spec.cutoff, job.spec.seed, job.spec.until_epoch)
            )
            self.run(job)
        self.launched.append(ran)

    def run(self, job: Job) -> None:
        spec = job.spec
        scores = self.table(spec.strategy.name, spec.cutoff)
        if scores is None:
            raise RuntimeError("the machine went away")
        epochs = spec.until_epoch or len(scores)
        result = RunResult(
            "n", "phantom", "test_resnet", spec.strategy.name, spec.cutoff, 1, spec.seed,
            status="paused" if epochs < len(scores) else "completed",
            metrics={METRIC: max(scores[:epochs])}, train={"epochs": epochs},
            config_sha256=job.fingerprint,
        )  # fmt: skip
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / "metrics.csv").open("w") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", METRIC])
            writer.writerows(enumerate(scores[:epochs]))
        result.save(job.folder)


@pytest.fixture
def session(composed):
    def make(table) -> tuple[World, Session]:
        world = World(table)
        return world, Session(composed, world.launch, Path("multirun/default").absolute())

    return make


def entries() -> list[dict]:
    return json.loads(Path("multirun/default/search.json").read_text())["searches"]


def constant(scores: dict[str, float]):
    return lambda _, cutoff: [scores.get(cutoff, 0.5)]


def test_strategies_are_searched_side_by_side(session, small) -> None:
    best = {"ttl": "block2.1", "lwft": "block1.1"}
    world, ours = session(lambda strategy, cutoff: [0.9 if best.get(strategy) == cutoff else 0.5])
    ours.search([*small, "strategy=ftl,lwft,ttl", "seed=0,1"], lambda _: Hierarchical(), METRIC)
    blocks, layers = world.launched
    assert len(blocks) == 2 * (1 + 4 + 4)  # ftl once a seed beside the blocks of the others
    # between the neighbours of block1 lies the stem; each other block is one unit
    assert {(s, c) for s, c, *_ in layers} == {("lwft", "stem")}
    assert {entry["strategy"]: entry["choice"] for entry in entries()} == best
    (lwft,) = [entry for entry in entries() if entry["strategy"] == "lwft"]
    assert [trial["cutoff"] for trial in lwft["trials"]] == [*CUTOFFS[1:], "stem"]
    assert lwft["trials"][0]["scores"] == {"0": 0.9, "1": 0.9}
    assert "0.9" in lwft["reason"]
    assert ours.unfinished == 0


@pytest.mark.slow
def test_a_tie_goes_to_the_smaller_model(session, small) -> None:
    _, ours = session(constant(dict.fromkeys(CUTOFFS, 0.8)))
    ours.search([*small, "strategy=ttl,tf"], lambda _: Exhaustive(), METRIC)
    models = {
        c: ttl.create_model("test_resnet", "tf", c, image_size=32, weights=None) for c in CUTOFFS
    }
    smallest = min(CUTOFFS, key=lambda c: sum(p.numel() for p in models[c].parameters()))
    choices = {entry["strategy"]: entry["choice"] for entry in entries()}
    assert choices == {"ttl": "stem", "tf": smallest}


@pytest.mark.slow
def test_halving_continues_the_better_ones(session, small) -> None:
    curves = {"stem": [0.1, 0.9, 0.9, 0.9], "block1.1": [0.2, 0.2, 0.2, 0.3],
              "block2.1": [0.7, 0.7, 0.7, 0.8], "block3.1": [0.6, 0.8, 0.8, 0.9],
              "block4.1": [0.3, 0.3, 0.3, 0.3]}  # fmt: skip
    arguments = [*small, "trainer.max_epochs=4", "strategy=ttl"]
    world, ours = session(lambda _, cutoff: curves[cutoff])
    ours.search(arguments, lambda _: Halving(max_epochs=4, eta=2, radius="all"), METRIC)
    rungs = [{(c, epochs) for _, c, _, epochs in batch} for batch in world.launched]
    assert rungs == [
        {(c, 1) for c in CUTOFFS},
        {(c, 2) for c in ("block2.1", "block3.1", "block4.1")},
        {(c, None) for c in ("block2.1", "block3.1")},
    ]
    (entry,) = entries()
    assert entry["choice"] == "block3.1"

    # taken up again, nothing runs, and the early rungs are judged by their own epochs
    world, again = session(lambda _, cutoff: curves[cutoff])
    again.search(arguments, lambda _: Halving(max_epochs=4, eta=2, radius="all"), METRIC)
    assert not any(world.launched)
    assert entries() == [entry]


@pytest.mark.slow
def test_those_that_probes_rank_highest_race(session, small, monkeypatch) -> None:
    promised = {"stem": 0.6, "block1.1": 0.9, "block2.1": 0.7, "block3.1": 0.8, "block4.1": 0.5}
    probed = []

    def predicted(specs) -> dict[str, float]:
        probed.append([(spec.data.options["train_size"], spec.seed) for spec in specs])
        return promised

    monkeypatch.setattr("ttl_lightning.jobs.prediction.predicted", predicted)
    curves = {"block1.1": [0.5, 0.6], "block3.1": [0.4, 0.9], "block2.1": [0.6, 0.7]}
    arguments = [*small, "trainer.max_epochs=2", "strategy=ttl,lwft", "seed=3,5"]
    world, ours = session(lambda _, cutoff: curves[cutoff])
    ours.search(arguments, lambda _: PredictedByProbes(max_epochs=2, keep=3, eta=2), METRIC)
    assert probed == [[(16, 3), (16, 5)]]  # once for both strategies
    first, last = world.launched
    field = {"block1.1", "block2.1", "block3.1"}
    assert {job[:2] for job in first} == {(s, c) for s in ("ttl", "lwft") for c in field}
    assert {(cutoff, until) for _, cutoff, _, until in last} == {
        ("block1.1", None), ("block2.1", None)
    }  # fmt: skip
    assert {entry["choice"] for entry in entries()} == {"block2.1"}
    assert {entry["method"] for entry in entries()} == {"predict"}
    assert entries()[0]["options"]["predicted"] == promised


def test_nothing_is_probed_for_a_job_that_cannot_begin(session, small, monkeypatch) -> None:
    monkeypatch.setattr("ttl_lightning.jobs.prediction.predicted", lambda _: pytest.fail("probed"))
    _, ours = session(constant({}))
    with pytest.raises(ConfigError, match="learning_rate"):
        ours.search(
            [*small, "strategy=ttl", "protocol.learning_rate=-1"],
            lambda _: PredictedByProbes(max_epochs=1),
            METRIC,
        )


@pytest.mark.slow
def test_a_candidate_that_fails_is_passed_over(session, small) -> None:
    scores = {"block1.1": 0.7, "block2.1": 0.9, "block3.1": 0.8}
    _, ours = session(lambda _, cutoff: None if cutoff == "block3.1" else [scores.get(cutoff, 0.1)])
    ours.search([*small, "strategy=ttl"], lambda _: Hierarchical(), METRIC)
    (entry,) = entries()
    assert entry["choice"] == "block2.1"
    # this launcher stopped at the first failure: what it did not reach is recorded, too
    assert [trial["score"] for trial in entry["trials"]] == [0.7, 0.9, None, None]
    assert ours.unfinished == 2
    folder = Path("multirun/default") / entry["trials"][2]["folders"][0]
    lost = RunResult.load(folder)
    assert (lost.status, lost.error) == (
        "failed", "the launcher failed: RuntimeError: the machine went away"
    )  # fmt: skip


@pytest.mark.slow
def test_searches_of_other_settings_are_kept(session, small) -> None:
    for strategy in ("ttl", "lwft", "ttl"):
        _, ours = session(constant({"block2.1": 0.9}))
        ours.search([*small, f"strategy={strategy}"], lambda _: Exhaustive(), METRIC)
    assert sorted(entry["strategy"] for entry in entries()) == ["lwft", "ttl"]


@pytest.mark.parametrize("metric", ["test/auprc", "val/loss", "auprc"])
def test_nothing_selects_on_test(metric, session, small) -> None:
    world, ours = session(constant({}))
    with pytest.raises(UnknownNameError, match="val/auprc"):
        ours.search([*small, "strategy=ttl"], lambda _: Exhaustive(), metric)
    assert not world.launched


@pytest.mark.slow
def test_a_strategy_that_freezes_nothing_has_nothing_to_free(session, small) -> None:
    world, ours = session(constant({}))
    with pytest.raises(ConfigError, match="strategy=ttl freezes none: give strategy=lwft"):
        ours.search([*small, "strategy=lwft,ttl"], lambda _: Incremental(), METRIC)
    assert not world.launched


def test_nothing_to_search_is_said(session, small) -> None:
    _, ours = session(constant({}))
    with pytest.raises(ConfigError, match="nothing to search"):
        ours.search([*small, "strategy=ftl,ffe"], lambda _: Exhaustive(), METRIC)


def test_one_bad_job_stops_a_grid_before_it_begins(session, small, workdir) -> None:
    world, ours = session(constant({}))
    with pytest.raises(ConfigError, match="seed"):
        ours.grid([*small, "strategy=ftl", "seed=0,1,-3"])
    assert not world.launched
    assert not list(workdir.iterdir())


@pytest.mark.slow
def test_the_exit_status_tells_of_failures(composed, small) -> None:
    def run(table, act) -> int:
        world = World(table)
        return run_session(composed, world.launch, Path("multirun/default").absolute(), act)

    def grid(*arguments):
        return lambda session: session.grid([*small, "strategy=ftl", *arguments])

    assert run(lambda *_: [0.5], grid("seed=0,1")) == 0
    assert Path("multirun/default/report.html").is_file()
    assert run(lambda *_: None, grid("seed=2,3")) == 1

    def interrupted(_) -> None:
        raise KeyboardInterrupt

    for act, status in ((grid("seed=-2"), 2), (interrupted, 130)):
        with pytest.raises(SystemExit) as stop:
            run(lambda *_: [0.5], act)
        assert stop.value.code == status


def test_a_search_taken_up_with_other_workers_is_one_entry(tmp_path) -> None:
    def entry(*overrides) -> dict:
        return {"data": "d", "backbone": "b", "strategy": "ttl", "overrides": list(overrides)}

    rounds.write(tmp_path, [entry("trainer.max_epochs=3", "data.cache=none")])
    rounds.write(tmp_path, [entry("trainer.max_epochs=3", "data.num_workers=2")])
    rounds.write(tmp_path, [entry("trainer.max_epochs=4")])
    assert [e["overrides"] for e in rounds.read(tmp_path)] == [
        ["trainer.max_epochs=4"], ["trainer.max_epochs=3", "data.num_workers=2"],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 1, "searches": 3}'])
def test_a_damaged_search_is_set_aside_and_said(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "search.json").write_text(text)
    assert rounds.read(tmp_path) == []
    assert "search.json cannot be read as a search" in caplog.text
    assert (tmp_path / "search.damaged.json").read_text() == text
    rounds.write(tmp_path, [{"data": "phantom"}])
    assert rounds.read(tmp_path) == [{"data": "phantom"}]

"""What a multirun's command line asks for."""

from pathlib import Path

import pytest

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, DataError, UnknownCutoffError, UnknownNameError
from ttl_lightning.jobs.plan import Plan, combinations, cutoffs_of
from ttl_lightning.records.schema import RunResult


@pytest.fixture
def plan(composed) -> Plan:
    return Plan(composed)


def jobs(plan: Plan, small, *arguments):
    return [job for group in plan.groups([*small, *arguments]) for job in group.jobs()]


def planned(plan: Plan, arguments):
    return [plan.job(job) for group in plan.groups(arguments) for job in group.jobs()]


def named(overrides) -> dict[str, str]:
    return dict(o.split("=", 1) for o in overrides)


def test_combinations_are_the_product() -> None:
    assert combinations(["strategy=tf,ttl", "cutoff=range(1,3)", "name=x"]) == [
        ("strategy=tf", "cutoff=1", "name=x"),
        ("strategy=tf", "cutoff=2", "name=x"),
        ("strategy=ttl", "cutoff=1", "name=x"),
        ("strategy=ttl", "cutoff=2", "name=x"),
    ]


@pytest.mark.parametrize(
    ("argument", "text"), [("seed=interval(0,1)", "needs values"), ("seed=(", "cannot read")]
)
def test_what_is_no_list_is_refused(argument, text) -> None:
    with pytest.raises(ConfigError, match=text):
        combinations([argument])


def test_a_strategy_without_cutoff_runs_once_a_seed(plan, small) -> None:
    found = jobs(plan, small, "strategy=ftl,lwft,tf,ttl", "cutoff=block1,block2,block3", "seed=0,1")
    got = [(n["strategy"], n.get("cutoff"), n["seed"]) for n in map(named, found)]
    expected = {("ftl", None, seed) for seed in "01"} | {
        (strategy, f"block{k}.1", seed)
        for strategy in ("lwft", "tf", "ttl")
        for k in (1, 2, 3)
        for seed in "01"
    }
    assert set(got) == expected
    assert len(got) == len(expected)


def test_a_cutoff_in_vain_is_refused(plan, small) -> None:
    (overrides,) = jobs(plan, small, "strategy=ftl", "cutoff=block1")
    with pytest.raises(ConfigError, match="takes no cutoff"):
        plan.job(overrides)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["strategy=tll"], UnknownNameError, "did you mean 'ttl'"),
        (["strategy=ttl", "cutoff=blok1"], UnknownCutoffError, "did you mean 'block1"),
        (["strategy=ttl"], ConfigError, "needs a cutoff"),
        (["strategy=ftl", "seed=-1"], ConfigError, "seed must be"),
        (["strategy=ftl", "data.image_sise=3"], UnknownNameError, "did you mean 'data.image_size'"),
        (["strategy=ftl", "data=npz", "data.path=none.npz"], DataError, "none.npz"),
        (["strategy=ftl", "until_epoch=0"], ConfigError, "until_epoch"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(plan, arguments, error, text) -> None:
    with pytest.raises(error, match=text):
        planned(plan, ["backbone=test_resnet", "backbone.weights=null", *arguments])
    assert not list(Path.cwd().iterdir())


def test_code_of_others_is_not_run_to_check_a_job(plan, small) -> None:
    (job,) = planned(plan, [*small, "strategy=ftl", "data._target_=nowhere.to.be.Found"])
    assert job[0].spec.data.options["_target_"] == "nowhere.to.be.Found"


def test_a_folder_says_what_the_job_is(plan, small, workdir) -> None:
    def folder(*overrides):
        return plan.job((*small, *overrides))[0].folder.relative_to(workdir).as_posix()

    base = "multirun/default/phantom/test_resnet"
    assert folder("strategy=ttl", "cutoff=block2", "seed=3") == f"{base}/ttl/block2.1/seed3"
    assert folder("strategy=ftl") == f"{base}/ftl/full/seed0"


@pytest.mark.slow
def test_jobs_that_differ_otherwise_do_not_share_a_folder(plan, small, composed) -> None:
    base = (*small, "strategy=ftl")
    one, two = base, (*base, "protocol.learning_rate=1e-4")
    first, second = plan.job(one)[0], plan.job(two)[0]
    assert first.folder != second.folder
    assert second.folder.name == f"seed0-{second.fingerprint[:8]}"
    # where the order is another, and the first is there already, both keep their places
    RunResult("n", "d", "b", "ftl", None, None, 0, config_sha256=first.fingerprint).save(
        _made(first.folder)
    )
    again = Plan(composed)
    assert again.job(two)[0].folder == second.folder
    assert again.job(one)[0].folder == first.folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_a_name_or_a_pause_makes_no_other_job(plan, small) -> None:
    base = (*small, "strategy=ftl")
    fingerprints = {
        plan.job((*base, extra))[0].fingerprint
        for extra in ("name=a", "name=b", "until_epoch=1", "resume=never")
    }
    assert len(fingerprints) == 1


def test_the_candidates_of_a_search(plan, small) -> None:
    (group,) = plan.groups([*small, "strategy=ttl"])
    sizes = cutoffs_of(group)
    assert list(sizes) == list(ttl.create_backbone("test_resnet", weights=None).cutoffs)
    for cutoff in ("stem", "block3.1"):
        model = ttl.create_model("test_resnet", "ttl", cutoff, image_size=32, weights=None)
        assert sizes[cutoff] == sum(p.numel() for p in model.parameters())


def test_cutoffs_on_the_command_line_restrict_a_search(plan, small) -> None:
    (group,) = plan.groups([*small, "strategy=ttl", "cutoff=block2,1"])
    assert list(cutoffs_of(group)) == ["stem", "block2.1"]


def test_a_run_that_is_to_leave_its_place_is_refused(plan, small) -> None:
    with pytest.raises(ConfigError, match="chdir"):
        plan.job((*small, "strategy=ftl", "hydra.job.chdir=true"))


def test_two_names_of_one_unit_are_one_job(plan, small, caplog) -> None:
    caplog.set_level("INFO")
    (group,) = plan.groups([*small, "strategy=ttl", "cutoff=block2,block3,block2.1,3,full"])
    planned_once = plan.jobs(group.jobs())
    assert [job.spec.cutoff for job, _ in planned_once] == ["block2.1", "block3.1", "block4.1"]
    assert "cutoff=block2 and cutoff=block2.1 are one unit" in caplog.text
    assert "cutoff=block2 and cutoff=3 are one unit" in caplog.text


@pytest.mark.slow
def test_how_a_job_is_run_makes_no_other_job(plan, small, caplog) -> None:
    caplog.set_level("INFO")
    groups = plan.groups([*small, "strategy=ftl", "data.num_workers=0,2", "data.cache=none,memory"])
    assert len(plan.jobs(job for group in groups for job in group.jobs())) == 1
    assert "data.num_workers=2 is the same run as data.num_workers=0: it is run once" in caplog.text


def test_a_run_is_found_under_the_name_it_was_given(plan, small, composed) -> None:
    job, _ = plan.job((*small, "strategy=ttl", "cutoff=block2"))
    old = job.folder.parent.with_name("block2") / "seed0"
    RunResult(
        "n", "d", "b", "ttl", "block2.1", 3, 0, status="completed", config_sha256=job.fingerprint
    ).save(_made(old))
    found, overrides = Plan(composed).job((*small, "strategy=ttl", "cutoff=3"))
    assert found.folder == old
    assert found.settled(since=0)
    again = Plan(composed).composed(overrides)  # what a launcher is given
    assert again.hydra.sweep.subdir == "phantom/test_resnet/ttl/block2/seed0"


def test_a_cutoff_of_a_file_is_named_in_full_too(plan, small) -> None:
    job, _ = plan.job(("experiment=table1_ttl1", "backbone.weights=null", *small[2:]))
    assert job.folder.parent.name == job.spec.cutoff == "block3.6"

import statistics

import pytest

from ttl_lightning.report.methods import group


def test_seeds_of_one_setting_are_one_method(run) -> None:
    runs = [run(seed=2, test=0.9), run(seed=0, test=0.6), run("ftl", None)]
    (found,) = group(runs)
    assert [m.strategy for m in found.methods] == ["ftl", "ttl"]
    ttl = found.methods[1]
    assert [r.result.seed for r in ttl.runs] == [0, 2]
    assert ttl.mean("test/auroc") == pytest.approx(statistics.mean([0.9, 0.6]))
    assert ttl.values("test/unknown") == []
    assert ttl.mean("test/unknown") is None
    assert ttl.variant == ()


def test_data_sets_and_backbones_are_apart(run) -> None:
    runs = [
        run(folder="a", data="npz", backbone="x", overrides=["data.path=p"]),
        run(folder="b", data="npz", backbone="y", overrides=["data.path=p"]),
        run(folder="c", data="npz", backbone="x", overrides=["data.path=q"]),
        run(folder="d", data="csv", backbone="x", overrides=["data.path=r"]),
    ]
    found = {(g.data, g.backbone): [r.folder for m in g.methods for r in m.runs]
             for g in group(runs)}  # fmt: skip
    assert found == {
        ("csv", "x"): ["d"], ("npz p", "x"): ["a"], ("npz q", "x"): ["c"], ("npz p", "y"): ["b"],
    }  # fmt: skip


def test_settings_that_differ_are_methods_of_their_own(run) -> None:
    shared = ["trainer.max_epochs=5", "hydra.run.dir=x"]
    runs = [
        run(seed=seed, folder=f"{rate}{size}{seed}",
            overrides=[*shared, f"+protocol.learning_rate={rate}", f"data.image_size={size}",
                       f"hydra.job.num={seed}"])
        for size in (32, 64) for rate in ("1e-3", "1e-4") for seed in (0, 1)
    ]  # fmt: skip
    (found,) = group(runs)
    assert [(m.variant, m.tuned) for m in found.methods] == [
        ((f"data.image_size={size}",), (f"+protocol.learning_rate={rate}",))
        for size in (32, 64) for rate in ("1e-3", "1e-4")
    ]  # fmt: skip
    assert [len(m.runs) for m in found.methods] == [2] * 4
    first = found.methods[0]
    assert first.label == "TTL (truncated) [data.image_size=32]"
    assert first.name == "TTL (truncated) [data.image_size=32, learning_rate=1e-3]"
    assert first.setting == "block1.1 with protocol.learning_rate=1e-3"


def test_a_seed_counts_once(run) -> None:
    (found,) = group([run(folder="a"), run(folder="b"), run(folder="c", seed=1)])
    assert [r.folder for r in found.methods[0].runs] == ["a", "c"]
    assert found.repeated == ("b",)


def test_costs_are_the_median_over_seeds_and_none_where_unknown(run) -> None:
    runs = [run(seed=seed, params=p) for seed, p in enumerate((1000, 9000, 2000))]
    (method,) = group(runs)[0].methods
    assert method.cost("latency_ms") == 2.0
    assert method.cost("latency_ratio") == 0.2
    damaged_ones = (None, "x", {"cpu": None}, {"cpu": 3}, {"cpu": {"median": float("nan")}})
    for damaged in damaged_ones:
        single = run()
        single.result.complexity.clear()
        single.result.complexity.update({"latency_ms": damaged, "params": True, "macs": 10**4000})
        (method,) = group([single])[0].methods
        for key in ("latency_ms", "latency_ratio", "params", "macs"):
            assert method.cost(key) is method.span(key) is None


def test_a_latency_spans_its_seeds_and_their_noise(run) -> None:
    runs = [run(seed=seed, ratio=ratio) for seed, ratio in enumerate((0.2, 0.3, None))]
    (method,) = group(runs)[0].methods
    assert method.span("params") == (1000, 1000)
    assert method.span("latency_ratio") == pytest.approx((0.2 * 0.9, 0.3 * 1.1))
    runs[0].result.complexity["latency_ms"]["cpu"]["noise"] = 0.08
    runs[0].result.complexity["untruncated"]["latency_ms"]["cpu"]["noise"] = 0.04
    (method,) = group(runs)[0].methods
    assert method.span("latency_ratio") == pytest.approx((0.2 * 0.88, 0.3 * 1.1))
    whole = run("ftl", None, ratio=1.0)
    whole.result.complexity["untruncated"] = None
    assert group([whole])[0].methods[0].span("latency_ratio") == (1.0, 1.0)


def test_a_result_of_an_earlier_version_is_read_but_not_compared(run) -> None:
    older = run()
    older.result.complexity["latency_ms"] = {
        "cpu": {"median": 1.5, "p95": 626.0, "batch_size": 1, "threads": 2}
    }
    (method,) = group([older])[0].methods
    assert method.cost("latency_ms") == 1.5
    assert method.cost("latency_ratio") is method.span("latency_ratio") is None


def test_methods_are_in_the_order_of_the_network(run) -> None:
    runs = [run("ttl", f"block{i}", place=i) for i in (10, 2)]
    runs += [run("own", "block1"), run("lwft", "block1"), run("ffe", None), run("ftl", None)]
    (found,) = group(runs)
    assert [(m.strategy, m.cutoff) for m in found.methods] == [
        ("ftl", None), ("ffe", None), ("lwft", "block1"), ("ttl", "block2"), ("ttl", "block10"),
        ("own", "block1"),
    ]  # fmt: skip


def same(seed: int, **values) -> dict:
    return {"seed": seed, "unit": "block1.1", "content": {"file": "f"}, **values}


def test_how_a_run_was_run_is_no_variant(run) -> None:
    runs = [
        run(seed=0, folder="a", identity=same(0), overrides=["data.path=p"]),
        run(seed=1, folder="b", identity=same(1), overrides=["data.path=q", "data.num_workers=2"]),
        run(seed=2, folder="c", identity=same(2), overrides=["data.path=p", "trainer=cpu"]),
        run("ftl", None, folder="d", identity=same(0, unit=None), overrides=["data.path=p"]),
    ]  # fmt: skip
    (found,) = group(runs)
    assert [(m.strategy, m.variant, len(m.runs)) for m in found.methods] == [
        ("ftl", (), 1), ("ttl", (), 3),
    ]  # fmt: skip


def test_other_data_under_one_name_are_apart(run) -> None:
    runs = [
        run(folder=name, identity=same(0, content={"file": name}), overrides=[f"data.path={name}"])
        for name in "pq"
    ]
    assert [found.data for found in group(runs)] == ["npz p", "npz q"]

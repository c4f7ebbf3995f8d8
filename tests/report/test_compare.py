import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ttl_lightning.report.collect import Search, collect
from ttl_lightning.report.compare import Choice, best, best_at_cutoffs, choose, compare
from ttl_lightning.report.methods import group


def chosen(runs, searches=()):
    (found,) = group(runs)
    return choose(found, searches)


def search(choice, *folders) -> Search:
    return Search(choice, "The search said so.", frozenset(folders))


def test_the_best_validation_mean_is_chosen_whatever_the_test_says(run) -> None:
    (choice,) = chosen([
        run(cutoff="a", seed=0, val=0.9, test=0.1), run(cutoff="a", seed=1, val=0.8, test=0.1),
        run(cutoff="b", seed=0, val=0.95, test=0.9), run(cutoff="b", seed=1, val=0.7, test=0.9),
    ])  # fmt: skip
    assert choice.method.cutoff == "a"
    assert "validation AUPRC (0.8500 over 2 seeds) of 2 cutoffs" in choice.reason


def test_of_equals_the_smaller_model_is_chosen(run) -> None:
    runs = [run(cutoff=c, params=p, test=t)
            for c, p, t in (("a", 30, 0.9), ("b", 10, 0.1), ("c", 20, 0.8))]  # fmt: skip
    assert chosen(runs)[0].method.cutoff == "b"


def test_what_was_searched_stands(run) -> None:
    runs = [
        run(cutoff="a", val=0.9),
        run(cutoff="b", val=0.8),
        run("tf", "a"),
        run("tf", "b", val=1),
    ]
    searches = [search("b", "ttl/a/seed0", "ttl/b/seed0")]
    tf, ttl = chosen(runs, searches)
    assert (ttl.method.cutoff, ttl.reason) == ("b", "The search said so.")
    assert tf.method.cutoff == "b"
    assert "validation AUPRC" in tf.reason


def test_a_search_whose_choice_is_missing_says_so(run) -> None:
    runs = [run(cutoff="a", val=0.9), run(cutoff="b", val=0.8)]
    (choice,) = chosen(runs, [search("c", "ttl/a/seed0")])
    assert choice.method.cutoff == "a"
    assert choice.reason.startswith("The search chose c, which has no completed run. a has")


def test_a_method_alone_needs_no_score_but_several_do(run) -> None:
    (choice,) = chosen([run("ftl", None, val=None)])
    assert choice.reason == "The strategy has no cutoff to choose."
    (choice,) = chosen([run(val=None)])
    assert choice.reason == "It is the only cutoff that was completed."
    assert chosen([run(cutoff="a", val=None), run(cutoff="b", val=None)]) == []
    assert best([]) is None


def tuned(run, rate, seed=0, **fields):
    cutoff = fields.pop("cutoff", "a")
    overrides = [f"protocol.learning_rate={rate}", *fields.pop("overrides", ())]
    folder = f"{fields.get('strategy', 'ttl')}/{cutoff}/{rate}/{''.join(overrides[1:])}seed{seed}"
    return run(cutoff=cutoff, seed=seed, folder=folder, overrides=overrides, **fields)


def test_one_row_a_strategy_whatever_was_tuned(run) -> None:
    runs = [tuned(run, rate, cutoff=cutoff, val=val, test=1 - val)
            for rate, cutoff, val in (("1e-3", "a", 0.8), ("1e-3", "b", 0.7), ("3e-3", "a", 0.6),
                                      ("3e-3", "b", 0.9))]  # fmt: skip
    runs += [tuned(run, r, strategy="ftl", cutoff=None, val=v)
             for r, v in (("1e-3", 0.5), ("3e-3", 0.4))]  # fmt: skip
    ftl, ttl = chosen(runs)
    assert ftl.method.tuned == ("protocol.learning_rate=1e-3",)
    assert (ttl.method.cutoff, ttl.method.tuned) == ("b", ("protocol.learning_rate=3e-3",))
    assert ttl.reason == (
        "b with protocol.learning_rate=3e-3 has the best mean validation AUPRC (0.9000 over 1 "
        "seed) of 4 settings."
    )


def test_what_changes_the_comparison_keeps_rows_of_its_own(run) -> None:
    runs = [tuned(run, rate, val=val, overrides=[f"data.image_size={size}"])
            for size in (32, 64) for rate, val in (("1e-3", 0.8), ("3e-3", 0.9))]  # fmt: skip
    found = {choice.method.variant: choice.method.tuned for choice in chosen(runs)}
    assert found == {
        (f"data.image_size={size}",): ("protocol.learning_rate=3e-3",) for size in (32, 64)
    }


def test_one_lucky_seed_does_not_beat_three(run) -> None:
    steady = [tuned(run, "1e-3", seed, val=val) for seed, val in enumerate((0.95, 0.7, 0.7))]
    (choice,) = chosen([*steady, tuned(run, "3e-3", 0, val=0.9)])
    assert choice.method.tuned == ("protocol.learning_rate=1e-3",)
    assert "(0.9500 over 1 seed) of 2 settings. Not all have the same seeds" in choice.reason
    (choice,) = chosen([*steady[1:], tuned(run, "3e-3", 0, val=0.9)])
    assert choice.method.tuned == ("protocol.learning_rate=3e-3",)
    assert choice.reason.endswith("no seed in common: each is judged by its own.")


def test_a_comparison_says_which_setting_it_took(run) -> None:
    runs = [tuned(run, "1e-3", 0, val=0.7), *(tuned(run, "3e-3", s, val=0.6) for s in (0, 1))]
    folders = frozenset(r.folder for r in runs)
    setting = ("protocol.learning_rate=3e-3",)
    taken = frozenset(r.folder for r in runs[1:])
    (choice,) = chosen(runs, [Search("a", "It said so.", folders, setting, taken)])
    assert (choice.method.tuned, choice.reason) == (setting, "It said so.")
    (choice,) = chosen(runs[:1], [Search("a", "", folders, setting, taken)])
    assert choice.reason.startswith("The search chose a with protocol.learning_rate=3e-3, which")


def test_of_searches_of_one_strategy_the_better_choice_is_taken(run) -> None:
    runs = [tuned(run, rate, cutoff=cutoff, val=val)
            for rate, cutoff, val in (("1e-3", "a", 0.8), ("1e-3", "b", 0.7), ("3e-3", "a", 0.6),
                                      ("3e-3", "b", 0.9))]  # fmt: skip
    searches = [search("a", runs[0].folder, runs[1].folder),
                search("b", runs[2].folder, runs[3].folder)]  # fmt: skip
    (choice,) = chosen(runs, searches)
    assert (choice.method.cutoff, choice.method.tuned) == ("b", ("protocol.learning_rate=3e-3",))
    assert choice.reason.startswith("2 searches ended here. b with")


def test_figures_have_one_setting_a_cutoff(run) -> None:
    runs = [tuned(run, rate, cutoff=cutoff, val=val)
            for rate, cutoff, val in (("1e-3", "a", 0.8), ("1e-3", "b", 0.7), ("3e-3", "a", 0.6),
                                      ("3e-3", "b", 0.9))]  # fmt: skip
    (found,) = group(runs)
    drawn = {m.cutoff: m.tuned[0][-4:] for m in best_at_cutoffs(found.methods, ())}
    assert drawn == {"a": "1e-3", "b": "3e-3"}
    other = next(m for m in found.methods if m.cutoff == "a" and m.tuned[0].endswith("3e-3"))
    assert other in best_at_cutoffs(found.methods, [other])
    (unscored,) = group([tuned(run, rate, val=None) for rate in ("1e-3", "3e-3")])
    assert best_at_cutoffs(unscored.methods, ()) == list(unscored.methods)


def rows_of(sweep_folder):
    found = collect(sweep_folder.root)
    methods = group(found.having("completed"))[0].methods
    return compare(found.root, [Choice(method, "") for method in methods])


def test_every_method_is_compared_with_full_finetuning(sweep_folder, result) -> None:
    for seed in (0, 1, 2):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed), signal=0.5)
        sweep_folder.add(f"ttl{seed}", result(seed=seed), signal=2.0)
    ftl, ttl = rows_of(sweep_folder)
    assert (ftl.baseline, ftl.comparisons) == (None, {})
    assert ttl.baseline is ftl.method
    areas = []
    for seed in (0, 1, 2):
        own = sweep_folder.noise + 0.3 * np.random.default_rng(seed).normal(size=120)
        areas.append(
            [roc_auc_score(sweep_folder.sick, s * sweep_folder.sick + own) for s in (2, 0.5)]
        )
    expected = np.mean([ours - theirs for ours, theirs in areas])
    assert ttl.comparisons["auroc"].difference == pytest.approx(expected, abs=1e-9)
    assert ttl.comparisons["auroc"].p_value < 0.01
    assert ttl.comparisons["auprc"].p_value < 0.05
    assert ttl.images == "120 test samples, the same for every seed"


def test_a_missing_table_costs_its_seed_alone(sweep_folder, result) -> None:
    for seed in (0, 1):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed), signal=0.5)
        sweep_folder.add(f"ttl{seed}", result(seed=seed), signal=1.0 if seed else None)
    _, ttl = rows_of(sweep_folder)
    assert ttl.comparisons["auroc"].seeds == (1, 2)
    assert ttl.comparisons["auroc"].p_value is None
    assert ttl.problems[0].startswith("ttl0: predictions.csv cannot be read")
    assert ttl.images == "120 test samples"


def test_nothing_to_compare_with_is_said_or_plain(sweep_folder, result) -> None:
    sweep_folder.add("ttl", result(), signal=1.0)
    (row,) = rows_of(sweep_folder)
    assert (row.baseline, row.comparisons, row.problems) == (None, {}, ())
    sweep_folder.add("ftl", result("ftl", None, 5))
    _, row = rows_of(sweep_folder)
    assert row.comparisons == {}
    assert row.problems == (
        "test AUROC: one side has no predictions.",
        "test AUPRC: one side has no predictions.",
    )


def test_p_values_are_corrected_for_the_rows_of_their_metric(sweep_folder, result) -> None:
    for seed in (0, 1, 2):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed), signal=1.0)
        for strategy in ("tf", "ttl"):
            sweep_folder.add(f"{strategy}{seed}", result(strategy, seed=seed), signal=1.1)
    _, tf, ttl = rows_of(sweep_folder)
    for metric in ("auroc", "auprc"):
        assert tf.comparisons[metric].p_value == pytest.approx(
            min(1, 2 * tf.comparisons[metric].plain_p)
        )
        assert ttl.comparisons[metric].p_value >= tf.comparisons[metric].p_value


def test_variants_are_compared_with_their_own(sweep_folder, result) -> None:
    for rate in ("1", "2"):
        for strategy in ("ftl", "ttl"):
            run = result(
                strategy, None if strategy == "ftl" else "block1.1", overrides=[f"lr={rate}"]
            )
            sweep_folder.add(f"{strategy}{rate}", run, signal=1.0)
    sweep_folder.add("other", result(overrides=["lr=3"]), signal=1.0)
    rows = rows_of(sweep_folder)
    found = {row.method.variant: row for row in rows if row.method.strategy == "ttl"}
    for rate in ("lr=1", "lr=2"):
        assert found[rate,].baseline.variant == (rate,)
    assert found["lr=3",].baseline is None
    assert found["lr=3",].problems == ("none of the full finetunings has the same settings.",)


def test_test_images_that_differ_between_seeds_are_said_to(sweep_folder, result) -> None:
    sweep_folder.add("a", result(seed=0), signal=1.0)
    sweep_folder.sick = ~sweep_folder.sick
    sweep_folder.add("b", result(seed=1), signal=1.0)
    (row,) = rows_of(sweep_folder)
    assert row.images == "120 test samples a seed, not the same for every seed"

from ttl_lightning.report.choice import best, choose
from ttl_lightning.report.collect import Search
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
    assert choice.reason.startswith("The search chose c, which has no completed run. It has")


def test_a_method_alone_needs_no_score_but_several_do(run) -> None:
    (choice,) = chosen([run("ftl", None, val=None)])
    assert choice.reason == "The strategy has no cutoff to choose."
    (choice,) = chosen([run(val=None)])
    assert choice.reason == "It is the only cutoff that was completed."
    assert chosen([run(cutoff="a", val=None), run(cutoff="b", val=None)]) == []
    assert best([]) is None

from ttl_lightning.search import Exhaustive


def test_all_candidates_are_one_batch(drive, resnet50) -> None:
    scores = {name: 1 - abs(place - 11) for place, name in enumerate(resnet50)}
    batches, choice = drive(Exhaustive(), scores)
    assert batches == [[(name, "all", None) for name in resnet50]]
    assert choice.candidate == "block3.4"
    assert choice.reason == "block3.4 scored best (1) of 17 cutoffs."


def test_the_reason_tells_of_ties_and_failures(drive) -> None:
    scores = {"stem": 0.9, "block1": 0.9, "block2": None, "tail": float("nan")}
    told = "scored best (0.9) of 4 cutoffs; it is the {} of 2 that tie; 2 could not be scored."
    assert drive(Exhaustive(), scores)[1].reason == f"stem {told.format('first')}"
    sizes = {"stem": 3, "block1": 2}
    assert drive(Exhaustive(), scores, sizes)[1].reason == f"block1 {told.format('smallest')}"
    sizes = {"stem": 2, "block1": 2}
    assert drive(Exhaustive(), scores, sizes)[1].reason == f"stem {told.format('first')}"


def test_nothing_scored_is_no_choice(drive) -> None:
    choice = drive(Exhaustive(), {"stem": None, "tail": float("nan")})[1]
    assert choice.candidate is None
    assert choice.reason == "None of 2 cutoffs could be scored."

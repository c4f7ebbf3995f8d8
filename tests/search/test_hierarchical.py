import random

import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.search import Hierarchical

BLOCKS = ["block1.3", "block2.4", "block3.6", "block4.3"]


def names(batch: list[tuple[str, str, int | None]]) -> list[str]:
    return [candidate for candidate, _, _ in batch]


def planted(resnet50: list[str], peak: str) -> dict[str, float]:
    """Scores that fall on both sides of a peak."""
    return {name: 1 - abs(resnet50.index(peak) - i) / 10 for i, name in enumerate(resnet50)}


def test_two_stages_find_the_papers_cutoff(drive, resnet50) -> None:
    # the paper's COVID-19 search goes from the 14th point (block3.6) to the 12th (block3.4)
    batches, choice = drive(Hierarchical(), planted(resnet50, "block3.4"))
    layers = [f"block3.{unit}" for unit in (1, 2, 3, 4, 5)] + ["block4.1", "block4.2"]
    assert batches == [
        [(name, "block", None) for name in BLOCKS],
        [(name, "layer", None) for name in layers],
    ]
    assert choice.candidate == resnet50[12 - 1] == "block3.4"
    assert choice.reason == ("block3.4 scored best (1) of 11 cutoffs, 7 of them around block3.6.")


def test_a_peak_far_from_the_best_block_is_missed_unless_all_are_tried(drive, resnet50) -> None:
    scores = dict.fromkeys(resnet50, 0.5) | {"block4.3": 0.8, "block2.2": 0.9}
    assert drive(Hierarchical(), scores)[1].candidate == "block4.3"
    batches, choice = drive(Hierarchical(radius="all"), scores)
    assert choice.candidate == "block2.2"
    assert names(batches[1]) == [name for name in resnet50 if name not in BLOCKS]


def test_the_stem_counts_when_the_first_block_is_best(drive, resnet50) -> None:
    batches, choice = drive(Hierarchical(), planted(resnet50, "stem"))
    assert names(batches[1]) == ["stem", "block1.1", "block1.2", "block2.1", "block2.2", "block2.3"]
    assert choice.candidate == "stem"


def test_the_tail_counts_when_the_last_block_is_best(drive) -> None:
    scores = {"stem": 0.1, "block1.1": 0.2, "block2.1": 0.3, "block2.2": 0.4, "tail": 0.5}
    batches, choice = drive(Hierarchical(), scores)
    assert [names(batch) for batch in batches] == [["block1.1", "block2.2"], ["block2.1", "tail"]]
    assert choice.candidate == "tail"
    # and only then
    batches, _ = drive(Hierarchical(), scores | {"block1.1": 0.9})
    assert names(batches[1]) == ["stem", "block2.1"]


@pytest.mark.parametrize(
    ("radius", "peak", "expected"),
    [
        (1, "block2.4", ["block2.3", "block3.1"]),
        (2, "block4.3", ["block4.1", "block4.2"]),
        (4, "block1.3", ["stem", "block1.1", "block1.2", "block2.1", "block2.2", "block2.3"]),
        # block ends that lie within it were tried
        (3, "block4.3", ["block4.1", "block4.2"]),
    ],
)
def test_radius_counts_positions(drive, resnet50, radius, peak, expected) -> None:
    batches, _ = drive(Hierarchical(radius=radius), planted(resnet50, peak))
    assert names(batches[1]) == expected


def test_blocks_of_one_unit_have_no_second_stage(drive) -> None:
    batches, choice = drive(Hierarchical(), {"block1": 0.1, "block2": 0.3, "block3": 0.2})
    assert [names(batch) for batch in batches] == [["block1", "block2", "block3"]]
    assert choice.candidate == "block2"


def test_without_blocks_every_candidate_is_tried_once(drive) -> None:
    for radius in (None, 1, "all"):
        batches, choice = drive(Hierarchical(radius=radius), {"stem": 0.1, "tail": 0.3})
        assert [names(batch) for batch in batches] == [["stem", "tail"]]
        assert choice.candidate == "tail"


def test_ties_go_to_the_smaller_model_in_and_across_stages(drive) -> None:
    scores = dict.fromkeys(["block1.1", "block1.2", "block2.1", "block2.2"], 0.7)
    batches, choice = drive(Hierarchical(), scores)
    assert names(batches[1]) == ["block1.1", "block2.1"]
    assert choice.candidate == "block1.1"
    sizes = {"block1.1": 4, "block1.2": 3, "block2.1": 1, "block2.2": 2}
    batches, choice = drive(Hierarchical(), scores, sizes)
    assert names(batches[1]) == ["block2.1"]
    assert choice.candidate == "block2.1"


def test_a_failed_block_is_no_center_and_a_failed_layer_is_not_chosen(drive, resnet50) -> None:
    scores = planted(resnet50, "block3.4") | {"block3.6": None, "block2.3": float("nan")}
    batches, choice = drive(Hierarchical(), scores)
    assert "block2.3" in names(batches[1])
    assert choice.candidate == "block3.4"
    assert choice.reason.endswith("around block2.4; 2 could not be scored.")


def test_if_every_block_fails_the_search_ends(drive, resnet50) -> None:
    batches, choice = drive(Hierarchical(radius="all"), dict.fromkeys(resnet50))
    assert [names(batch) for batch in batches] == [BLOCKS]
    assert choice.candidate is None


def test_nothing_is_tried_twice_and_the_best_tried_is_chosen(drive, resnet50) -> None:
    draw = random.Random(0)
    for radius in (None, 1, 2, 5, 99, "all"):
        for _ in range(20):
            scores = {name: draw.random() for name in resnet50}
            batches, choice = drive(Hierarchical(radius=radius), scores)
            tried = [name for batch in batches for name in names(batch)]
            assert len(tried) == len(set(tried))
            assert choice.candidate == max(tried, key=scores.__getitem__)
            assert radius not in (99, "all") or set(tried) == set(resnet50)


@pytest.mark.parametrize("radius", [0, -1, True, 1.5, "some"])
def test_a_wrong_radius_is_named(radius) -> None:
    with pytest.raises(ConfigError, match=f"radius must be null .* 'all', got {radius!r}"):
        Hierarchical(radius=radius)

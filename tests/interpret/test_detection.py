from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ttl_lightning.errors import ConfigError, DataError, UnknownNameError
from ttl_lightning.interpret.baselines import expected_coefficients
from ttl_lightning.interpret.detection import (
    STATISTICS,
    THRESHOLD,
    Detection,
    Error,
    Reuse,
    detect,
    error_between,
    excess,
    ks_distance,
)
from ttl_lightning.interpret.svcca import cca

BLOCKS = ("block1", "block2", "block3", "block4")
WIDTHS = (256, 512, 1024, 2048)
SAMPLES = (2960384, 740096, 185024, 46256)


def paper(differences: tuple[float, ...]) -> dict[str, Reuse]:
    """What the paper's figures give: by how much the mean coefficient is above the random one.

    Random coefficients of p features each, with few of them a sample, follow the quarter-circle
    law on [0, 2 sqrt(p/n)], whose mean is 8 / (3 pi) sqrt(p/n).
    """
    random = [8 / (3 * math.pi) * math.sqrt(p / n) for p, n in zip(WIDTHS, SAMPLES, strict=True)]
    return {
        name: Reuse(difference + mean, mean)
        for name, difference, mean in zip(BLOCKS, differences, random, strict=False)
    }


def curve(*scores: float | None) -> dict[str, Reuse]:
    """Units whose excess is given: their random mean is 0."""
    return {f"block1.{i}": Reuse(score, 0.0) for i, score in enumerate(scores, 1)}


@pytest.mark.parametrize(
    ("differences", "threshold", "unit"),
    [
        ((0.87, 0.77, 0.48, 0.12), THRESHOLD, "block3"),  # full transfer
        ((0.87, 0.77, 0.48, 0.12), 0.2, "block3"),
        ((0.87, 0.77, 0.48, 0.12), 0.25, "block3"),
        ((0.70, 0.57, 0.27, 0.06), 0.2, "block3"),  # TransFusion
        ((0.70, 0.57, 0.27, 0.06), 0.25, "block3"),
        ((0.71, 0.60, 0.31, 0.10), 0.2, "block3"),  # layer-wise finetuning
        ((0.69, 0.57, 0.22), 0.2, "block3"),  # truncated
        ((0.69, 0.57, 0.22), 0.25, "block2"),
    ],
)
def test_the_papers_resnet_is_cut_after_block_3(differences, threshold, unit) -> None:
    assert detect(paper(differences), threshold).unit == unit


def test_what_a_detection_says() -> None:
    detection = detect(paper((0.87, 0.77, 0.48, 0.12)))
    # by hand: random means 0.0079, 0.0223, 0.0632, 0.1786
    expected = dict(zip(BLOCKS, (0.8769, 0.7876, 0.5124, 0.1461), strict=True))
    assert detection.scores == pytest.approx(expected, abs=1e-3)
    assert detection == Detection(
        "block3",
        "block3 is the last of 4 candidates whose excess (0.512) is above 0.5; the highest after "
        "it is 0.146 (block4). The first to change it would be block3, 0.012 above the "
        "threshold; how far other images would move it is not known.",
        detection.scores,
        BLOCKS,
        "excess",
        0.5,
        {},
        "block3",
        pytest.approx(0.0124, abs=1e-3),
    )


@pytest.mark.parametrize(
    ("scores", "nearest", "margin"),
    [
        ((0.9, 0.501, 0.1), "block1.2", 0.001),  # the chosen one might not be
        ((0.9, 0.7, 0.499, 0.3), "block1.3", -0.001),  # a later one might be
        ((0.9, 0.7, 0.3, 0.499), "block1.4", -0.001),
        ((0.501, 0.9, 0.3), "block1.3", -0.2),  # one before it does not matter
        ((0.501, 0.3), "block1.2", -0.2),  # the first is chosen below the threshold, too
        ((0.499, 0.3), "block1.2", -0.2),
        ((0.3, 0.1, 0.45), "block1.3", -0.05),  # none is above
    ],
)
def test_how_close_the_choice_was(scores, nearest, margin) -> None:
    far = detect(curve(*scores), error=Error(abs(margin) / 4, "of a test"))
    assert (far.nearest, far.margin, far.close) == (nearest, pytest.approx(margin), False)
    near = detect(curve(*scores), error=Error(abs(margin) * 0.6, "of a test"))
    assert (near.nearest, near.close, near.error) == (nearest, True, abs(margin) * 0.6)
    side = "above" if margin > 0 else "below"
    assert near.reason.endswith(
        f". A close choice: the first to change it would be {nearest}, {abs(margin):.2g} "
        f"{side} the threshold; the standard error is {near.error:.2g} (of a test)."
    )
    assert " A clear choice: " in far.reason
    unknown = detect(curve(*scores))
    assert (unknown.nearest, unknown.error, unknown.close) == (nearest, None, None)


def test_an_only_candidate_is_not_close_to_another() -> None:
    only = detect(curve(0.5001), error=Error(0.1, "of a test"))
    assert (only.nearest, only.margin, only.close) == (None, None, None)
    assert only.reason.endswith("; none comes after it.")


@pytest.mark.slow
def test_the_error_of_halves_is_that_of_the_whole() -> None:
    """Drawn anew many times, the excess of all images spreads as the halves said it would."""
    rng, kept, said = np.random.default_rng(0), [], []
    mixing = rng.standard_normal((6, 6))
    for _ in range(120):
        x = rng.standard_normal((200, 6)) @ mixing
        units = {name: x + 3 * rng.standard_normal((200, 6)) for name in "abc"}
        parts = [slice(None), slice(100), slice(100, None)]
        whole, *halves = (
            {name: Reuse(float(cca(x[rows], y[rows]).mean()),
                         float(expected_coefficients(6, 6, len(x[rows])).mean()))
             for name, y in units.items()}
            for rows in parts
        )  # fmt: skip
        kept += [excess(one) for one in whole.values()]
        said.append(error_between(*halves).size)
    assert np.sqrt(np.mean(np.square(said))) == pytest.approx(np.std(kept), rel=0.15)


def test_the_error_is_of_the_units_that_both_halves_can_judge() -> None:
    first = {"a": Reuse(0.8, 0.0), "b": Reuse(0.5, 0.0), "c": Reuse(0.4, 0.2),
             "d": Reuse(0.9, 0.1), "e": Reuse(1, 0.6)}  # fmt: skip
    other = {"a": Reuse(0.7, 0.0), "b": Reuse(0.5, 0.0), "c": Reuse(0.4, 0.2),
             "d": Reuse(None, 0.1), "e": Reuse(0, 0.4)}  # fmt: skip
    error = error_between(first, other)
    assert error is not None
    assert error.size == pytest.approx(math.sqrt(0.1**2 / 4 / 3))
    few = {name: first[name] for name in "ade"}
    assert error_between(few, {name: other[name] for name in few}) is None
    assert error_between({}, {}) is None


@pytest.mark.parametrize(
    ("mean", "random_mean", "expected"),
    [(1, 0.3, 1.0), (0.3, 0.3, 0.0), (0.65, 0.3, 0.5), (0.0, 0.5, -1.0)],
)
def test_excess_in_closed_form(mean, random_mean, expected) -> None:
    assert excess(Reuse(mean, random_mean)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_ks_distance_equals_scipys_one_sided_one(seed) -> None:
    rng = np.random.default_rng(seed)
    random = np.round(rng.random(37) * 0.5, 2)
    true = np.round(rng.random(50), 2)
    expected = ks_2samp(true, random, alternative="less", method="asymp").statistic
    distance = ks_distance(Reuse(None, None, true, random))
    assert distance == pytest.approx(expected, abs=1e-12)
    assert distance >= true.mean() - random.mean()
    assert ks_distance(Reuse(None, None, random, random)) == 0


def test_ks_distance_counts_only_what_lies_above_random_ones() -> None:
    low, high = np.full(3, 0.1), np.full(4, 0.2)
    assert ks_distance(Reuse(None, None, high, low)) == 1
    assert ks_distance(Reuse(None, None, low, high)) == 0


def test_a_share_of_directions_kept_and_the_rest_forgotten_scores_that_share_either_way() -> None:
    random = np.full(100, 0.3)
    kept = np.where(np.arange(100) < 40, 1.0, 0.3)
    unit = Reuse(kept.mean(), 0.3, kept, random)
    assert {name: of(unit) for name, of in STATISTICS.items()} == pytest.approx(
        {"excess": 0.4, "ks": 0.4}
    )


def test_the_last_above_is_chosen_and_a_dip_before_it_named() -> None:
    detection = detect(curve(0.9, 0.1, 0.5, 0.2, 0.1), 0.2)
    assert detection.unit == "block1.3"
    assert detection.notes == {"block1.2": "the excess is not above 0.2, but that of block1.3 is"}


def test_all_above_says_that_nothing_is_cut() -> None:
    assert detect(curve(0.9, 0.5), 0.2).reason.startswith(
        "block1.2 is the last of 2 candidates whose excess (0.5) is above 0.2; none comes after it."
    )


def test_none_above_gives_the_first_candidate() -> None:
    detection = detect(curve(0.05, 0.2, 0.1), 0.2)
    assert detection.unit == "block1.1"
    assert detection.reason.startswith(
        "block1.1 is the first of 3 candidates, since no excess is above 0.2; the highest is 0.2 "
        "(block1.2)."
    )
    assert not detection.notes


def test_candidates_restrict_the_choice_and_not_the_curve() -> None:
    # given out of order, which does not matter
    detection = detect(curve(0.9, 0.8, 0.7, 0.1, 0.05), candidates=["block1.4", "block1.2"])
    assert detection.unit == "block1.2"
    assert detection.candidates == ("block1.2", "block1.4")
    assert len(detection.scores) == 5


@pytest.mark.parametrize("broken", [None, math.nan, math.inf])
def test_what_could_not_be_computed_is_named_and_never_chosen(broken) -> None:
    detection = detect({"stem": Reuse(broken, 0.0), **curve(0.1, 0.1, broken)})
    assert detection.unit == "block1.1"
    assert detection.scores == {"stem": None, "block1.1": 0.1, "block1.2": 0.1, "block1.3": None}
    assert detection.notes == dict.fromkeys(
        ("stem", "block1.3"), "the similarity, or that of random features, could not be computed"
    )
    assert detection.reason.count("; 2 cannot be judged. ") == 1
    assert detect(curve(0.9, 0.6, broken)).unit == "block1.2"


def test_too_few_samples_for_the_channels_is_not_reuse() -> None:
    # then every coefficient is 1, whatever the features
    detection = detect({**curve(0.9), "block2": Reuse(1.0, 1.0), "block3": Reuse(0.5, None)})
    assert detection.unit == "block1.1"
    assert detection.notes["block2"] == (
        "random features are as alike as can be: too few samples for the channels"
    )
    assert detection.scores["block3"] is None


def test_where_chance_leaves_little_the_excess_is_not_believed() -> None:
    units = {**curve(0.9, 0.6), "block2": Reuse(0.99, 0.51), "tail": Reuse(0.97, 0.9)}
    detection = detect(units)
    assert detection.unit == "block1.2"
    assert detection.scores["tail"] == pytest.approx(0.7)  # the curve is whole
    assert detection.notes["tail"] == (
        "random features are 0.90 alike: too few samples for the channels to judge it"
    )
    assert set(detection.notes) == {"block2", "tail"}
    assert detection.reason.count("; 2 cannot be judged. ") == 1
    assert detect({**units, "block2": Reuse(0.99, 0.5)}).unit == "block2"
    with pytest.raises(DataError, match="none of tail can be judged; tail: random features"):
        detect(units, candidates=["tail"])


def test_distances_want_spectra() -> None:
    spectrum = np.array([0.9, 0.8])
    units = {
        "stem": Reuse(0.85, 0.1, spectrum, np.array([0.1, 0.1])),
        "block1": Reuse(0.85, 0.1),
        "block2": Reuse(0.85, 0.1, spectrum, np.array([])),
        "block3": Reuse(0.85, 0.1, np.array([0.9, math.nan]), spectrum),
    }
    detection = detect(units, statistic="ks")
    assert (detection.unit, detection.statistic) == ("stem", "ks")
    assert detection.scores == {"stem": 1.0, "block1": None, "block2": None, "block3": None}
    assert detection.notes == {
        "block1": "the spectrum, or that of random features, could not be computed",
        "block2": "the spectrum, or that of random features, is empty or not finite",
        "block3": "the spectrum, or that of random features, is empty or not finite",
    }


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"threshold": 1.5}, ConfigError, "threshold must be a number from 0 to 1, got 1.5."),
        (
            {"statistic": "kss"},
            UnknownNameError,
            "unknown statistic 'kss'; did you mean 'ks'? Allowed: excess, ks. ",
        ),
        (
            {"candidates": ["block1.7"]},
            UnknownNameError,
            "unknown candidate 'block1.7'; did you mean 'block1.2'? Allowed: block1.1, block1.2. ",
        ),
        (
            {"candidates": []},
            ConfigError,
            "a cutoff is detected among at least one candidate, got none.",
        ),
        (
            {"candidates": ["block1.2"]},
            DataError,
            "none of block1.2 can be judged; block1.2: the similarity, or that of random "
            "features, could not be computed.",
        ),
    ],
)
def test_error_texts(options, error, text) -> None:
    with pytest.raises(error) as caught:
        detect(curve(0.5, None), **options)
    assert str(caught.value) == text.rstrip()

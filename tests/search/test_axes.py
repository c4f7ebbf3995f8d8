"""Values that settings differ in, and what lies between and beyond them."""

import math
from itertools import pairwise

import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.search.axes import FINEST, Listed, Rates, spaced


def test_rates_are_halved_in_their_logarithm() -> None:
    rates = Rates("protocol.learning_rate", ("3e-3", "1e-3", "3e-4"))
    assert rates.values == ("3e-4", "1e-3", "3e-3")
    assert float(rates.between("1e-3", "3e-3")) == pytest.approx(math.sqrt(3e-6), rel=5e-3)
    assert float(rates.beyond("3e-3", 1)) == pytest.approx(9e-3)
    assert float(rates.beyond("3e-4", -1)) == pytest.approx(9e-5)
    assert Rates("rate", ("1e-3",)).beyond("1e-3", 1) is None


def test_rates_are_not_split_finer_than_a_training_can_tell() -> None:
    rates = Rates("rate", ("1", "10"))
    low, high = "1", "10"
    while (middle := rates.between(low, high)) is not None:
        assert float(middle) / float(low) >= FINEST - 0.01
        high = middle
    assert float(high) < FINEST**2 + 0.01


@pytest.mark.parametrize("value", ["0", "-1", "x", "nan", "inf"])
def test_what_is_no_rate_is_refused(value) -> None:
    with pytest.raises(ConfigError, match=f"protocol.learning_rate must be a positive.*{value}"):
        Rates("protocol.learning_rate", ("1e-3", value))


def test_cutoffs_are_halved_by_layers(resnet50) -> None:
    ends = ("block1.3", "block2.4", "block3.6", "block4.3")
    cutoffs = Listed("cutoff", ends, tuple(resnet50))
    assert cutoffs.between("block2.4", "block3.6") == "block3.3"
    assert cutoffs.between("block3.6", "block2.4") == "block3.3"
    assert cutoffs.between("block2.4", "block3.1") is None
    assert cutoffs.beyond("block1.3", -1) == "block1.1"
    assert cutoffs.beyond("block1.1", -1) == "stem"
    assert cutoffs.beyond("stem", -1) is None
    assert cutoffs.beyond("block4.3", 1) is None


def test_values_that_the_command_line_lists_are_all_there_is() -> None:
    epochs = Listed("trainer.max_epochs", ("5", "10", "30"))
    assert epochs.between("5", "30") == "10"
    assert epochs.between("5", "10") is None
    assert epochs.beyond("30", 1) is None


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("number", range(1, 9))
def test_spaced_values_are_different_and_keep_the_ends(length, number) -> None:
    values = [str(index) for index in range(length)]
    found = spaced(values, number)
    assert len(set(found)) == len(found) == min(length, number)
    if number > 1:
        assert (found[0], found[-1]) == (values[0], values[-1])
        gaps = [int(b) - int(a) for a, b in pairwise(found)]
        assert max(gaps, default=1) - min(gaps, default=1) <= 1

import statistics

import pytest

from ttl_lightning.pages import text


def test_spread_is_the_sample_standard_deviation() -> None:
    values = [0.9, 0.8, 0.85]
    assert text.spread(values) == f"0.850 ± {statistics.stdev(values):.3f}"
    assert text.spread([0.5]) == "0.500 ± –"
    assert text.spread([]) == "–"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (1.0, "100 %"), (0.309, "31 %"), (0.042, "4.2 %")]
)
def test_ratios_are_percent(value, shown) -> None:
    assert text.percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (999, "999"), (1000, "1.00 k"), (55586, "55.6 k"), (999_999, "1.00 M"),
     (3_373_570, "3.37 M"), (32_447_104, "32.4 M"), (4.12e9, "4.12 G")],
)  # fmt: skip
def test_amounts_have_three_digits(value, shown) -> None:
    assert text.amount(value) == shown


def test_signs() -> None:
    assert [text.signed(v) for v in (0.0123, -0.0123, -0.0001, 0)] == [
        "+0.012", "−0.012", "0.000", "0.000",
    ]  # fmt: skip
    assert [text.p_value(p) for p in (0.0004, 0.0341, 1)] == ["p < 0.001", "p = 0.034", "p = 1.000"]


def test_shares() -> None:
    assert text.share(55586, 3373570) == "1.6 %"
    assert text.share(1, 2) == "50 %"
    assert text.share(1, 0) is None
    assert text.share(None, 1) is None

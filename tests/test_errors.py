from __future__ import annotations

import pickle

import pytest

from ttl_lightning.errors import (
    MAX_LISTED,
    ConfigError,
    DataError,
    NonFiniteLossError,
    TTLError,
    UnknownCutoffError,
    UnknownNameError,
    WeightsError,
    check_choice,
    check_number,
    one_line,
)


def test_a_text_is_one_line() -> None:
    assert str(TTLError("  one\n\ttwo   three ")) == "one two three"


@pytest.mark.parametrize("kind", [ConfigError, DataError, WeightsError, NonFiniteLossError])
def test_one_base_for_all(kind: type[TTLError]) -> None:
    assert issubclass(kind, TTLError)
    assert issubclass(UnknownCutoffError, UnknownNameError)
    assert issubclass(UnknownNameError, ConfigError)


def test_an_unknown_name_proposes_the_nearest_and_lists_all_once() -> None:
    error = UnknownNameError("fruit", "aple", ["apple", "pear", "apple"], "Or bring your own.")
    assert str(error) == (
        "unknown fruit 'aple'; did you mean 'apple'? Allowed: apple, pear. Or bring your own."
    )
    assert (error.kind, error.given, error.allowed) == ("fruit", "aple", ("apple", "pear"))


def test_an_unknown_name_far_from_all_proposes_none() -> None:
    assert str(UnknownNameError("fruit", 7, ["apple"])) == "unknown fruit 7. Allowed: apple."


@pytest.mark.parametrize("n", [MAX_LISTED, MAX_LISTED + 1])
def test_a_long_list_is_cut_and_counted(n: int) -> None:
    text = str(UnknownNameError("number", "x", map(str, range(n))))
    assert ("…" in text) == (n > MAX_LISTED)
    assert text.endswith(f", {n - 1}." if n == MAX_LISTED else f", … ({n} in all).")


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("a b"),
        UnknownNameError("fruit", "aple", ["apple"], "Buy one."),
        UnknownCutoffError("cutoff of net", 18, ["stem"], "Or an integer from 1 to 1."),
    ],
)
def test_errors_travel_between_processes(error: TTLError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("value", "integer"), [(1, True), (5, True), (1, False), (1.5, False), (5.0, False)]
)
def test_numbers_in_range(value: float, integer: bool) -> None:
    check_number("data.key", value, 1, 5, integer=integer)


@pytest.mark.parametrize("value", [0, 6, -1, float("nan"), float("inf"), "3", None, True, [2]])
def test_numbers_out_of_range(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        check_number("data.key", value, 1, 5)
    assert str(caught.value) == f"data.key must be a number from 1 to 5, got {value!r}."


def test_integers_without_an_upper_bound() -> None:
    check_number("data.key", 10**9, 1, integer=True)
    with pytest.raises(
        ConfigError, match=r"^data\.key must be an integer of at least 1, got 2\.0\.$"
    ):
        check_number("data.key", 2.0, 1, integer=True)


def test_choices() -> None:
    check_choice("data.cache", "disk", ("memory", "disk"))
    with pytest.raises(
        UnknownNameError,
        match=r"^unknown data\.cache 'dsk'; did you mean 'disk'\? Allowed: memory, disk\.$",
    ):
        check_choice("data.cache", "dsk", (name for name in ("memory", "disk")))


def test_characters_that_a_terminal_would_obey_are_shown() -> None:
    assert str(TTLError("got 'a\x1b[2Jb\x00\udcff' of é°–×")) == (
        r"got 'a\x1b[2Jb\x00\udcff' of é°–×"
    )


def test_a_line_has_no_controls() -> None:
    assert one_line("a\n b\x1b[2J\ud800\x00c") == "a b [2J c"

import dataclasses

import pytest

from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.search import METHODS, Detected, Halving, Hierarchical, Predicted, create_method
from ttl_lightning.search.methods import method_at


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_frozen_and_knows_its_name(name) -> None:
    needing = {
        "halving": Halving(max_epochs=3),
        "detect": Detected("block1", "It was told."),
        "predict": Predicted({"block1": 0.7}, max_epochs=3),
    }
    method = needing.get(name) or create_method(name)
    assert type(method) is METHODS[name]
    assert method.name == name
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.name = "other"


def test_the_default_is_the_papers_search() -> None:
    assert create_method("hierarchical") == Hierarchical(radius=None)


def test_an_option_without_default_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"needs max_epochs: give method=Halving\(max_epochs=…\)"):
        create_method("halving")


def test_a_method_is_found_by_its_path_and_its_options_are_known() -> None:
    path = "ttl_lightning.search.halving.Halving"
    assert method_at(path, ["max_epochs", "eta"]) is Halving
    with pytest.raises(ConfigError, match="needs max_epochs beside it"):
        method_at(path, ["eta"])
    with pytest.raises(UnknownNameError, match="option of Halving 'etta'; did you mean 'eta'"):
        method_at(path, ["max_epochs", "etta"])
    for wrong in ("ttl_lightning.search.halving.Halvin", "nowhere.Halving", "Halving", "math.sin"):
        with pytest.raises(ConfigError, match=f"hydra.sweeper.method={wrong} is no search method"):
            method_at(wrong, [])


def test_an_unknown_name_lists_those_there_are() -> None:
    message = "'hierarchic'; did you mean 'hierarchical'.* exhaustive, hierarchical, incremental, h"
    with pytest.raises(UnknownNameError, match=message):
        create_method("hierarchic")

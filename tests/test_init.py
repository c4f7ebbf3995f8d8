"""The public names."""

import importlib
import types

import pytest

import ttl_lightning as ttl


def test_every_public_name_is_there() -> None:
    for name in ttl.__all__:
        assert getattr(ttl, name) is not None
    assert dir(ttl) == ttl.__all__


def test_a_function_is_not_replaced_by_the_module_of_its_name() -> None:
    module = importlib.import_module("ttl_lightning.runs.fit")
    assert isinstance(module, types.ModuleType)
    assert ttl.train is module.train


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ttl.nothing

"""A network as a graph: torch.export's, and ONNX made of it."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import nn

from ttl_lightning.errors import ConfigError, TTLError, one_line


def traced(model: nn.Module, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    """The network as a graph for any batch size.

    Args:
        model: in evaluation mode.
        shape: `(C, *spatial)` of one input.

    Raises:
        ConfigError: if it cannot be traced.
    """
    example = torch.zeros(2, *shape)
    batch = torch.export.Dim("batch", min=1)
    with silent(), _refusing("torch.export"), torch.no_grad():
        return torch.export.export(model, (example,), dynamic_shapes=({0: batch},))


def as_onnx(model: nn.Module, shape: tuple[int, ...], file: Path, output: str) -> None:
    """Write any network as ONNX.

    Args:
        model: in evaluation mode.
        shape: `(C, *spatial)` of one input.
        file: to write.
        output: name of the output.

    Raises:
        ConfigError: if the network cannot be traced or written so.
    """
    program = traced(model, shape)
    with silent(), _refusing("ONNX"):
        written = torch.onnx.export(
            program, input_names=["image"], output_names=[output], dynamo=True, verbose=False
        )
        assert written is not None
        written.save(str(file), external_data=False)


def save_program(model: nn.Module, shape: tuple[int, ...], file: Path) -> None:
    """Write any network as a program of `torch.export`; arguments as of `as_onnx`.

    Raises:
        ConfigError: if the network cannot be traced.
    """
    program = traced(model, shape)
    with silent():
        torch.export.save(program, file)


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn whatever an exporter raises into one line."""
    try:
        yield
    except (TTLError, OSError):
        raise
    except Exception as error:
        first = one_line(str(error).strip().partition("\n")[0])
        raise ConfigError(
            f"{what} cannot take this network: {type(error).__name__} {first}"
        ) from error


@contextmanager
def silent() -> Iterator[None]:
    """Keep an exporter's chatter, which says nothing of this network, off the terminal."""
    before = logging.root.manager.disable
    with (
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)

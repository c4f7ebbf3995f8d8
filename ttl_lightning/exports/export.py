"""A finished run as an export, kept where it computes what the run does."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ttl_lightning.data.module import DataModule
from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.exports import again, card, int8
from ttl_lightning.exports.contract import Contract, contract_of
from ttl_lightning.exports.formats import WRITERS, Subject
from ttl_lightning.exports.options import ExportOptions
from ttl_lightning.exports.page import page_of
from ttl_lightning.exports.samples import (
    Samples,
    as_stored,
    data_of,
    for_calibration,
    of_data,
    of_images,
)
from ttl_lightning.records.files import json_text
from ttl_lightning.records.folder import ExportFolder, RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.holding import completed
from ttl_lightning.runs.predictor import Predictor, load

MOST_DIFFERENT = 1e-4
"""Of probabilities, or of values in training deviations; one that is farther off is not kept."""
PACKAGES = ("torch", "numpy", "monai", "timm", "pillow")


@dataclass(frozen=True)
class _Opened:
    """A run and what its export is compared on."""

    result: RunResult
    predictor: Predictor
    contract: Contract
    samples: Samples
    data: DataModule | None


def export(options: ExportOptions, overrides: Sequence[str] = ()) -> list[str]:
    """Export a run, load what was written again in another process, and keep it if it agrees.

    Args:
        options: what to export.
        overrides: `data.KEY=VALUE`, where the data have moved.

    Returns:
        What to say of it, a line each.

    Raises:
        TTLError: if the run cannot be opened or exported so, if the export is there already, cannot
            be written, or differs from the run. Then nothing is left behind.
    """
    run = Path(options.run)
    target = _target(options)
    with _replacing(target, overwrite=options.overwrite) as folder:
        opened = _open(run, options, overrides)
        subject = _subject(opened, options)
        WRITERS[options.format](folder, subject)
        made = card.card_of(
            options.format,
            opened.contract,
            opened.result,
            inside=options.inside,
            quantize=options.quantize,
        )
        card.write(folder, made)
        checked = _compared(folder, opened, inside=options.inside)
        lines = [_said(checked)]
        if options.quantize:
            assert opened.data is not None  # as the options demand
            made["changes"] = _quantised(folder, opened, opened.data, options)
            checked = _compared(folder, opened, inside=options.inside, exact=False)
            lines += [f"int8: {_said(checked)}", *map(_change, made["changes"].items())]
        made["checked"] = checked.to_dict()
        card.write(folder, made)
        page = page_of(made, subject.title)
        ExportFolder(folder).page.write_text(page, encoding="utf-8")
    return [*lines, f"{options.format} in {target}"]


def _target(options: ExportOptions) -> Path:
    if options.output is not None:
        return Path(options.output).expanduser()
    name = f"{options.format}-{options.quantize}" if options.quantize else options.format
    return RunFolder(Path(options.run)).exports / name


@contextlib.contextmanager
def _replacing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write into that becomes the target if all goes well, and is gone if not.

    Raises:
        ConfigError: if the target is there and shall not be replaced, is no export, or cannot be
            written.
    """
    _check_replaceable(target, overwrite=overwrite)
    made = [each for each in (target.parent, *target.parent.parents) if not each.exists()]
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        temporary.chmod(0o755)
        yield temporary
        _check_replaceable(target, overwrite=overwrite)
        if target.exists():
            old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
            target.replace(old / "old")
            temporary.replace(target)
            shutil.rmtree(old)
        else:
            temporary.replace(target)
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for folder in made:  # the deepest first; one that others write into stays
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise ConfigError(f"output {target} cannot be written: {error.strerror}.") from error
        raise


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise ConfigError(f"{target} is there already: overwrite=true replaces it.")
    if not ExportFolder(target).card.is_file():
        raise ConfigError(f"{target} is no export, so overwrite=true does not replace it.")


def _open(run: Path, options: ExportOptions, overrides: Sequence[str]) -> _Opened:
    predictor = load(run)
    # a checkpoint's file would do for `load`, and stands for no finished run
    result, contract = completed(run), contract_of(predictor)
    if options.images is not None:
        given = of_images(Path(options.images).expanduser(), predictor, contract)
        return _Opened(result, predictor, contract, given, None)
    data = data_of(run, overrides)
    return _Opened(result, predictor, contract, of_data(data, predictor, contract), data)


def _subject(opened: _Opened, options: ExportOptions) -> Subject:
    result, contract = opened.result, opened.contract
    if options.quantize and contract.masks and contract.volume and options.inside:
        raise ConfigError(
            "quantize=int8 scores masks of volumes by windows of the network's own input: give "
            "preprocessing=none."
        )
    cutoff = f" cutoff={result.cutoff}" if result.cutoff else ""
    title = f"{result.data} · {result.backbone} · {result.strategy}{cutoff} · seed {result.seed}"
    versions = {name: metadata.version(name) for name in PACKAGES}
    return Subject(opened.predictor.model, contract, options.inside, title, versions)


def _compared(folder: Path, opened: _Opened, *, inside: bool, exact: bool = True) -> card.Checked:
    """What the export says beside what the run does.

    Raises:
        TTLError: if they are of another shape, or differ too much where they should not.
    """
    samples, spread = opened.samples, opened.contract.spread
    inputs = samples.inputs(inside=inside).contiguous().numpy()
    found, expected = again.probabilities(folder, inputs), samples.expected.numpy()
    if found.shape != expected.shape:
        raise TTLError(
            f"the export gives outputs of shape {found.shape}, the run {expected.shape}; it "
            "is not kept."
        )
    # NaN is no agreement
    apart = np.abs(found.astype(np.float64) - expected)
    difference = float((apart / np.array(spread) if spread else apart).max())
    if exact and not difference <= MOST_DIFFERENT:
        raise TTLError(
            f"the export is off what the run predicts by up to {difference:.2e}, more than "
            f"{MOST_DIFFERENT:g}, on {samples.source}; it is not kept."
        )
    return card.Checked(difference, len(inputs), samples.source)


def _quantised(
    folder: Path, opened: _Opened, data: DataModule, options: ExportOptions
) -> dict[str, Any]:
    """Quantise `model.onnx` in its place; what that changes in each metric of the test split."""
    there, contract, task = ExportFolder(folder), opened.contract, opened.predictor.task
    whole = there.onnx.replace(there.onnx.with_suffix(".float.onnx"))
    inputs = for_calibration(
        data, opened.predictor, contract, options.calibration, inside=options.inside
    )
    int8.quantise(whole, there.onnx, inputs)
    transform = as_stored(data, contract) if options.inside else None
    found = [
        int8.scored(
            task,
            int8.Session(file, contract),
            data.plain_dataloader("test", transform),
        )
        for file in (whole, there.onnx)
    ]
    whole.unlink()
    changes = int8.changes(*found)
    there.changes.write_text(json_text(changes), encoding="utf-8")
    return dict(changes)


def _said(checked: card.Checked) -> str:
    return (
        f"largest difference from the run {checked.largest_difference:.2e} on {checked.source}"
        ", loaded again in a new process"
    )


def _change(item: tuple[str, dict[str, float | None]]) -> str:
    name, values = item
    before, after, difference = (
        "undefined" if value is None else f"{value:.4f}" for value in values.values()
    )
    return f"  {name}: {before} -> {after} ({difference})"

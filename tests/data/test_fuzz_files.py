"""Damaged files for every reader: refused in one line, read as if whole, or said to be possible.

A damaged file is refused by an error that names it, or gives the very values of the whole one.
Other values come only of formats without a checksum; they are counted apart. Nothing else may
happen: no other exception, no warning, no crash, no hang, no more memory than a picture may take.
`pytest -s -m slow tests/data/test_fuzz_files.py` prints how many were tried.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import multiprocessing
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.data.damage import DAMAGES, ONCE
from tests.data.damage_cases import CASES, Case
from ttl_lightning.errors import DataError, TTLError, WeightsError

TRIES = 72
MOST_SECONDS = 5.0  # of the processor
HANGS_AFTER_SECONDS = 60.0
MOST_MEGABYTES = 400.0
MOST_CHARACTERS = 1000


def tries(case: Case, whole: bytes, others: list[bytes], seed: str) -> Iterator[tuple[str, bytes]]:
    """What was done to a file, and what it is then."""
    rng = Random(seed)
    for name in ONCE:
        yield name, DAMAGES[name](rng, whole)
    for other in others:
        yield "other format", other
    names = [name for name in DAMAGES if name not in ONCE]
    for number in range(TRIES - len(ONCE) - len(others)):
        name = names[number % len(names)]
        if case.inside is not None and number % 3 == 0:
            yield f"{name} inside", case.inside(rng, whole, DAMAGES[name])
        else:
            yield name, DAMAGES[name](rng, whole)


def same(one: Any, other: Any) -> bool:
    """Whether all that was read is the same, bit by bit."""
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and (one.dtype, one.shape) == (other.dtype, other.shape)
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, (list, tuple)):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )
    return bool(one == other) or (one != one and other != other)


def peak_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e3


def outcome(case: Case, path: Path, whole: list[Any]) -> tuple[str, str]:
    """How a try ended: same, other or refused; or else what was wrong with it."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            ended = ("same" if same(case.read(path), whole) else "other"), ""
        except TTLError as error:
            ended = refusal(case, path, error)
        except BaseException as error:  # noqa: BLE001 - which is what is looked for
            ended = "wrong", f"{type(error).__name__}: {error}"
        gc.collect()
    if heard:
        first = heard[0]
        return "wrong", f"{first.category.__name__}: {first.message} ({ended[0]})"
    return ended


def refusal(case: Case, path: Path, error: TTLError) -> tuple[str, str]:
    told, cause = str(error), error.__cause__
    if not isinstance(error, case.errors):
        return "wrong", f"{type(error).__name__}: {told}"
    if path.name not in told and str(path.parent) not in told:
        return "wrong", f"names no file: {told}"
    if len(told) > MOST_CHARACTERS or not told.isprintable():
        return "wrong", f"is no line of text, {len(told)} characters: {told[:200]!r}"
    if isinstance(cause, MemoryError):
        return "wrong", f"asks for memory: {told}"
    return "refused", told


def read_damaged(name: str, folder: Path) -> None:
    """Try one kind of file; what was found goes to result.json, the try that is going on to log."""
    case, found, counts = CASES[name], [], Counter()
    path = case.write(folder)
    whole = path.read_bytes()
    values = case.read(path)
    assert same(case.read(path), values)
    others = [(folder.parent / "others" / other).read_bytes() for other in OTHERS]
    gc.collect()
    gc.freeze()
    with (folder / "log").open("w") as log:
        faulthandler.enable(log)
        for number, (what, content) in enumerate(tries(case, whole, others, name)):
            print(f"{name}, try {number}: {what}", file=log, flush=True)
            path.write_bytes(content)
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            faulthandler.dump_traceback_later(HANGS_AFTER_SECONDS, exit=True, file=log)
            before, started = peak_megabytes(), time.process_time()
            ended, told = outcome(case, path, values)
            took, grown = time.process_time() - started, peak_megabytes() - before
            faulthandler.cancel_dump_traceback_later()
            if ended == "other" and case.checked and what not in SEALED and "inside" not in what:
                ended, told = "wrong", "other values, no word"
            if took > MOST_SECONDS or grown > MOST_MEGABYTES:
                ended, told = "wrong", f"took {took:.1f} s and {grown:.0f} MB ({ended}, {told})"
            counts[ended] += 1
            if ended == "wrong":
                found.append(f"try {number}, {what}: {told}")
        faulthandler.disable()
    (folder / "result.json").write_text(json.dumps({"counts": counts, "found": found}))


OTHERS = ("BMP", "npz", "safetensors", "CSV")
SEALED = ("other format",)  # it is a file as its writer left it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With files of some formats, to be found under another format's name."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "others").mkdir()
    for other in OTHERS:
        (folder / other).mkdir()
        path = CASES[other].write(folder / other)
        (folder / "others" / other).write_bytes(path.read_bytes())
    return folder


def _raises(error: BaseException) -> Callable[[Path], list[Any]]:
    def read(_: Path) -> list[Any]:
        raise error

    return read


def _warns(_: Path) -> list[Any]:
    warnings.warn("its end is missing", stacklevel=1)
    return [np.arange(3)]


@pytest.mark.parametrize(
    ("read", "ended", "why"),
    [
        (lambda _: [np.arange(3)], "same", ""),
        (lambda _: [np.arange(4)], "other", ""),
        (lambda _: [np.arange(3.0)], "other", ""),
        (_raises(DataError("cannot read x.png: it is torn.")), "refused", "it is torn"),
        (_raises(DataError("it is torn.")), "wrong", "names no file"),
        (_raises(DataError("x.png" + 2000 * "!")), "wrong", "is no line of text"),
        (_raises(WeightsError("x.png is torn.")), "wrong", "WeightsError"),
        (_raises(ValueError("x.png is torn.")), "wrong", "ValueError"),
        (_raises(KeyboardInterrupt()), "wrong", "KeyboardInterrupt"),
        (_warns, "wrong", "UserWarning: its end is missing (same)"),
    ],
)
def test_what_is_wrong_is_seen(read: Callable[[Path], list[Any]], ended: str, why: str) -> None:
    found, told = outcome(Case(Path, read), Path("/made/x.png"), [np.arange(3)])
    assert found == ended
    assert why in told


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_damaged_file_is_refused_or_read_as_it_was(name: str, folder: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux to tell how much memory a try takes")
    made = folder / f"tried {name}"
    made.mkdir()
    # forked from a server that has imported everything: a crash ends the child alone
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([read_damaged.__module__])
    child = context.Process(target=read_damaged, args=(name, made))
    child.start()
    child.join(300)
    child.kill()
    child.join()
    log = (made / "log").read_text() if (made / "log").exists() else "it did not begin"
    last = log[log.rfind(f"{name}, try") :]  # the try that did not end, and its traceback
    assert child.exitcode == 0, f"status {child.exitcode}: {last[:2000]}"
    result = json.loads((made / "result.json").read_text())
    print(f"\n{name}: {TRIES} tried: {result['counts']}")  # noqa: T201 - pytest -s
    assert not result["found"], "\n".join(result["found"])
    assert result["counts"]["refused"] > 0.1 * TRIES


@pytest.mark.parametrize("name", CASES)
def test_the_whole_file_is_read_and_an_empty_one_refused(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = case.write(tmp_path)
    assert same(case.read(path), case.read(path))
    path.write_bytes(b"")
    with pytest.raises(case.errors, match=re.escape(path.name)):
        case.read(path)

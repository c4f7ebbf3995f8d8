from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from ttl_lightning.data.readers.heeded import heeded


def test_what_a_decoder_warns_of_is_said_once_with_the_first_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(3):
        with heeded(Path(f"{number}.tif")):
            warnings.warn(f"tag {number} of\n the test of this is odd", stacklevel=1)
    assert caplog.messages == ["0.tif is read, but: tag 0 of the test of this is odd"]


def test_of_a_file_that_is_refused_the_error_alone_is_said(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    def read() -> None:
        with heeded(Path("x.tif")):
            warnings.warn("its end is missing", stacklevel=1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        read()
    assert not caplog.messages
    assert not recwarn.list


def test_other_warnings_pass() -> None:
    with pytest.warns(RuntimeWarning, match="overflow"), heeded(Path("x.tif")):
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)


def test_threads_hear_of_their_own_files_and_leave_all_as_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger, barrier = logging.getLogger("pydicom"), Barrier(4)
    before = warnings.filters[:], warnings.showwarning, logger.level

    def read(name: str) -> None:
        with heeded(Path(name)):
            barrier.wait(10)  # all are within
            warnings.warn(f"an oddity of {name} alone", stacklevel=1)
        with heeded(Path(name)):
            logger.warning("not said")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, "abcd"))
    assert sorted(caplog.messages) == [
        f"{name} is read, but: an oddity of {name} alone" for name in "abcd"
    ]
    assert before == (warnings.filters[:], warnings.showwarning, logger.level)

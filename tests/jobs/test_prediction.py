from __future__ import annotations

import os

import numpy as np
import pytest

from ttl_lightning.errors import DataError
from ttl_lightning.jobs import prediction
from ttl_lightning.jobs.job import spec_of
from ttl_lightning.jobs.prediction import predicted, scores
from ttl_lightning.tasks.probes import Linear, ProbeResult

NONE = Linear(np.zeros((1, 1)), np.zeros(1))


class Deadly:
    def __reduce__(self) -> tuple:
        return os._exit, (9,)


def test_the_score_is_the_probes_average_precision_on_validation(monkeypatch, composed) -> None:
    found = {
        "stem": ProbeResult({"val/auroc": 0.9, "val/auprc": 0.7}, 1.0, {}, NONE),
        "block1": ProbeResult({"val/auroc": None, "val/auprc": None}, 1.0, {}, NONE),
    }
    monkeypatch.setattr(prediction, "probe", lambda spec: found if spec.seed == 4 else {})
    assert scores(spec_of(composed(["seed=4"]))) == {"stem": 0.7, "block1": None}


@pytest.mark.slow  # a process of its own
def test_a_process_that_is_killed_is_said_in_one_line() -> None:
    # what it is sent ends it, as a lack of memory would
    with pytest.raises(DataError, match=r"^the process that probed .* was killed .*\.$"):
        predicted([Deadly()])


@pytest.mark.slow  # a process of its own
def test_the_mean_over_seeds(small, composed) -> None:
    asked = ([*small, "strategy=ttl", "cutoff=stem", f"seed={k}"] for k in (0, 1))
    specs = [spec_of(composed(overrides)) for overrides in asked]
    one, other = (scores(spec) for spec in specs)
    assert one != other  # other images, other random weights
    assert predicted(specs) == pytest.approx({unit: (one[unit] + other[unit]) / 2 for unit in one})

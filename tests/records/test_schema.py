import json

import pytest

from ttl_lightning.errors import DataError
from ttl_lightning.records.schema import RunResult


def made() -> RunResult:
    return RunResult("n", "phantom", "resnet50", "ttl", "block3.6", 14, 0)


def test_a_result_survives_the_file(tmp_path) -> None:
    result = made()
    result.metrics.update({"val/auroc": 0.5, "test/auroc": None})
    result.save(tmp_path)
    assert RunResult.load(tmp_path) == result


def test_no_nan_reaches_the_file(tmp_path) -> None:
    result = made()
    result.metrics.update({"val/loss": float("nan")})
    result.train.update({"rates": [float("inf"), 1.0]})
    result.save(tmp_path)
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["metrics"] == {"val/loss": None}
    assert content["train"] == {"rates": [None, 1.0]}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_a_foreign_or_torn_file_is_an_error(content, tmp_path) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(DataError, match=r"result\.json"):
        RunResult.load(tmp_path)

"""The phantoms' promise: where the sign of disease is a texture, a low cutoff is enough."""

import pytest

import ttl_lightning as ttl


@pytest.mark.slow
def test_a_low_cutoff_is_enough_for_texture(tmp_path) -> None:
    common = [
        "data.level=texture", "data.train_size=1000", "data.val_size=150", "data.test_size=300",
        "trainer.max_epochs=8", "trainer.accelerator=cpu", "trainer.precision=32-true",
    ]  # fmt: skip
    low = ttl.train(overrides=[*common, "strategy=ttl", "cutoff=block3"], run_dir=tmp_path / "low")
    full = ttl.train(overrides=[*common, "strategy=ftl"], run_dir=tmp_path / "full")
    assert low.complexity["params"] < 0.02 * full.complexity["params"]
    low_auroc, full_auroc = (run.metrics["test/auroc"] for run in (low, full))
    assert low_auroc is not None
    assert full_auroc is not None
    assert low_auroc > 0.97
    assert low_auroc > full_auroc - 0.02

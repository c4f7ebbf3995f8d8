from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ttl_lightning.cli.analyze import analyze
from ttl_lightning.errors import ConfigError
from ttl_lightning.interpret.commands.cross import cross
from ttl_lightning.interpret.commands.options import Cross, Images
from ttl_lightning.interpret.commands.transfer import (
    Options,
    compare,
    compare_halves,
    report,
    row,
    transfer,
)
from ttl_lightning.runs.open import OpenRun


def folded(run: OpenRun, when: str, unit: str) -> np.ndarray:
    """(images × positions, channels) of the test split."""
    model = getattr(run, when)
    with torch.no_grad():
        maps = [dict(model.backbone.features(b["image"]))[unit] for b in run.batches("test")]
    return torch.cat(maps).movedim(1, -1).flatten(0, -2).double().numpy()


def reference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Canonical correlations by SVD of the whole matrices; dead and dependent channels left out."""
    bases = []
    for z in (x, y):
        varying = z[:, z.std(0) > 1e-6 * np.abs(z).max()]
        scaled = (varying - varying.mean(0)) / varying.std(0)
        basis, sizes, _ = np.linalg.svd(scaled, full_matrices=False)
        bases.append(basis[:, sizes > 1e-6 * sizes[0]])
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


def test_it_is_the_correlation_of_the_whole_features(open_cut: OpenRun) -> None:
    for found in compare(open_cut, Images(variance=1.0)):
        x, y = (folded(open_cut, when, found.unit) for when in ("before", "after"))
        expected = reference(x, y)
        np.testing.assert_allclose(found.similarity.coefficients, expected, atol=1e-6)
        assert found.similarity.n == len(x)


def test_a_model_beside_itself_is_all_reuse(open_cut: OpenRun) -> None:
    same = OpenRun(
        open_cut.folder, open_cut.result, open_cut.data, open_cut.after, open_cut.after,
        open_cut.device, open_cut.task,
    )  # fmt: skip
    units, permuted = transfer(same, Options())
    for found in units:
        assert found.similarity.mean == pytest.approx(1, abs=1e-6)
        mean = permuted[found.unit]
        assert mean is not None
        assert mean < 0.95
        low, high = found.random_edges
        assert 0 <= low < high < 1
        assert abs(found.random.mean() - (low + high) / 2) < 0.2


def test_the_baselines_are_the_same_each_time(open_cut: OpenRun) -> None:
    first, permuted = transfer(open_cut, Options(seed=3))
    other_draw, permuted_otherwise = transfer(open_cut, Options(seed=4))
    for one, other in zip(first, other_draw, strict=True):
        assert np.array_equal(one.random, other.random)
        assert row(one) == row(other)
    assert permuted == transfer(open_cut, Options(seed=3))[1] != permuted_otherwise


@pytest.mark.parametrize("most", [None, 11, 2])
def test_halves_are_of_different_images_and_give_the_whole(open_cut: OpenRun, most) -> None:
    images = Images(most=most)
    whole, halves = compare_halves(open_cut, images)
    for one, first, second, alone in zip(whole, *halves, compare(open_cut, images), strict=True):
        assert (one.unit, one.similarity.n) == (alone.unit, alone.similarity.n)
        assert first.similarity.n + second.similarity.n == one.similarity.n
        assert abs(first.similarity.n - second.similarity.n) <= one.similarity.n / 2
        np.testing.assert_allclose(
            one.similarity.coefficients, alone.similarity.coefficients, atol=1e-6
        )
        assert first.similarity.mean != second.similarity.mean
    assert compare_halves(open_cut, Images(most=1))[1] == ([], [])


def test_the_permuted_baseline_changes_nothing_else(open_cut: OpenRun) -> None:
    alone, (beside, permuted) = compare(open_cut, Images()), transfer(open_cut, Options(seed=3))
    assert [row(unit) for unit in alone] == [row(unit) for unit in beside]
    assert list(permuted) == [unit.unit for unit in alone]


def test_a_wrong_option_is_found_before_the_pass(
    open_cut: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenRun, "batches", lambda *_: pytest.fail("a pass was begun"))
    wrong = {compare: Images, compare_halves: Images, transfer: Options, cross: Cross}
    for measure, options in wrong.items():
        with pytest.raises(ConfigError, match="variance must be a number from 0 to 1, got 2"):
            measure(open_cut, options(variance=2))
    with pytest.raises(ConfigError, match="seed must be an integer of at least 0, got -1"):
        transfer(open_cut, Options(seed=-1))


def test_the_command_writes_table_spectra_and_figure(cut: Path) -> None:
    findings, files = analyze("transfer", [f"run={cut}", "most=12", "device=cpu"])
    place = cut / "analysis"
    assert files == [
        place / f"transfer.{suffix}" for suffix in ("json", "csv", "png", "pdf", "svg")
    ]
    written = json.loads(files[0].read_text())
    assert written["headline"] == findings.headline
    assert list(written["spectra"]) == ["stem", "block1.1", "block2.1"]
    for line in written["rows"]:
        spectrum = written["spectra"][line["unit"]]["coefficients"]
        assert line["mean"] == pytest.approx(np.mean(spectrum))
        excess = (line["mean"] - line["random_mean"]) / (1 - line["random_mean"])
        assert line["excess"] == pytest.approx(excess)
    with files[1].open() as table:
        assert [row["unit"] for row in csv.DictReader(table)] == list(written["spectra"])
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_one_image_a_batch_has_no_other_to_pair_with(open_cut: OpenRun) -> None:
    findings = report(open_cut, Options(most=1))
    assert all(row["permuted_mean"] is None for row in findings.rows)

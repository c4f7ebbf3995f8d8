from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ttl_lightning.errors import DataError, UnknownNameError
from ttl_lightning.interpret import moments as module
from ttl_lightning.interpret.moments import Moments, fold, shared_grid

PAIRS = [("a", "b"), ("a", "a"), ("b", "c")]


def maps(images: int, seed: int = 0, mean: float = 3.0) -> dict[str, torch.Tensor]:
    """Maps of three sizes, correlated through one image."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(images, 1, 4, 4, generator=generator, dtype=torch.float64)
    own = torch.randn(images, 12, 4, 4, generator=generator, dtype=torch.float64)
    wide = image + own + mean
    return {"a": wide[:, :5], "b": wide[:, 5:8], "c": F.avg_pool2d(wide[:, 8:], 2)}


def rows(x: torch.Tensor) -> np.ndarray:
    """(samples, C), position by position."""
    array = x.numpy()
    return np.stack([array[:, c].ravel() for c in range(array.shape[1])], 1)


def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)


def filled(*batches: dict[str, torch.Tensor]) -> Moments:
    moments = Moments(PAIRS)
    for batch in batches:
        moments.update(batch)
    return moments


def parts(moments: Moments) -> list[torch.Tensor]:
    pairs = [moments.pair(a, b) for a, b in PAIRS]
    return [part for pair in pairs for part in (pair.xx, pair.xy, pair.yy)]


def close(ours: Moments, theirs: Moments, within: float) -> bool:
    together = zip(parts(ours), parts(theirs), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=within) for a, b in together)


def test_covariances_are_numpys_with_every_position_a_sample():
    batch = maps(7)
    pair = filled(batch).pair("a", "b")
    x, y = rows(batch["a"]), rows(batch["b"])
    assert pair.n == 7 * 4 * 4
    np.testing.assert_allclose(pair.xx, covariance(x, x), atol=1e-13)
    np.testing.assert_allclose(pair.xy, covariance(x, y), atol=1e-13)
    np.testing.assert_allclose(pair.yy, np.cov(y.T, bias=True), atol=1e-13)


def test_a_pair_of_unequal_sizes_is_pooled_to_the_smaller_grid_and_others_are_not():
    batch = maps(6)
    moments = filled(batch)
    pair = moments.pair("b", "c")
    pooled = rows(F.avg_pool2d(batch["b"], 2))
    assert pair.n == 6 * 2 * 2
    np.testing.assert_allclose(pair.xx, covariance(pooled, pooled), atol=1e-13)
    np.testing.assert_allclose(pair.xy, covariance(pooled, rows(batch["c"])), atol=1e-13)
    assert moments.pair("a", "b").n == 6 * 4 * 4


def test_a_pair_may_be_asked_for_the_other_way_round_or_of_one_map():
    moments = filled(maps(5))
    there, back, own = moments.pair("a", "b"), moments.pair("b", "a"), moments.pair("a", "a")
    assert torch.equal(back.xx, there.yy)
    assert torch.equal(back.xy, there.xy.T)
    assert torch.equal(own.xy, there.xx)


def test_uneven_batches_and_merged_processes_equal_one_batch():
    whole = maps(11)
    pieces = [{k: x[i:j] for k, x in whole.items()} for i, j in ((0, 1), (1, 6), (6, 6), (6, 11))]
    streamed, once = filled(*pieces), filled(whole)
    assert close(streamed, once, 1e-12)
    merged = Moments(PAIRS)
    for part in (filled(pieces[0]), Moments(PAIRS), filled(*pieces[1:])):
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert merged.images == 11
    assert close(merged, once, 1e-12)


def test_merging_leaves_the_other_as_it_was():
    part = filled(maps(4, seed=1))
    before = [x.clone() for x in parts(part)]
    merged = Moments(PAIRS)
    merged.merge(part)
    merged.merge(part)
    merged.update(maps(4, seed=2))
    assert all(torch.equal(a, b) for a, b in zip(before, parts(part), strict=True))


def test_rows_and_columns_are_cut_into_chunks_without_a_trace(monkeypatch):
    whole = filled(maps(9))
    monkeypatch.setattr(module, "ROWS", 32)
    monkeypatch.setattr(module, "COLUMNS", 2)
    assert close(filled(maps(9)), whole, 1e-12)


def test_a_large_mean_costs_no_digits_even_where_the_first_batch_has_another():
    plain, far = maps(8, mean=0.0), maps(8, mean=1e6)
    assert close(filled(far), filled(plain), 1e-8)
    first = {k: x[:1] for k, x in plain.items()}
    rest = {k: x[1:] for k, x in far.items()}
    jump = filled(first, rest).pair("a", "b")
    x, y = (rows(torch.cat([first[k], rest[k]])) for k in "ab")
    np.testing.assert_allclose(jump.xy, covariance(x, y), rtol=1e-13)


def test_activations_are_not_stored():
    moments = filled(*[maps(50, seed) for seed in range(3)])
    held = len(pickle.dumps(moments))
    moments.update(maps(500))
    assert len(pickle.dumps(moments)) - held < 100


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_channels_that_vary_by_rounding_alone_are_constant(dtype):
    x = maps(8)["a"].to(dtype)
    x[:, 1] = 0.0
    x[:, 2] = 0.1
    x[:, 4] = 1000.1
    x[::2, 4] *= 1 + torch.finfo(dtype).eps
    moments = Moments([("a", "b")])
    for part in (slice(0, 3), slice(3, 8)):
        moments.update({"a": x[part], "b": maps(8)["b"][part]})
    pair = moments.pair("a", "b")
    varies = torch.tensor([True, False, False, True, False])
    assert (pair.xx.diagonal() > 0).tolist() == varies.tolist()
    assert not pair.xx[~varies].any()
    assert not pair.xx[:, ~varies].any()
    assert not pair.xy[~varies].any()
    assert pair.xy[varies].all()
    assert pair.xx.dtype == torch.float64


def test_a_weak_channel_is_not_constant():
    x = maps(8)["a"].float()
    x[:, 0] *= 1e-6
    moments = Moments([("a", "a")])
    moments.update({"a": x})
    assert moments.pair("a", "a").xx[0, 0] == pytest.approx(rows(x.double())[:, 0].var(), rel=1e-9)


@pytest.mark.parametrize("spatial", [(), (5,), (3, 2), (2, 3, 4)])
def test_folding_keeps_each_positions_channels_together(spatial):
    x = torch.randn(2, 3, *spatial)
    folded = fold(x, spatial)
    assert folded.shape == (2 * x[0, 0].numel(), 3)
    torch.testing.assert_close(folded.numpy(), rows(x))


@pytest.mark.parametrize(("size", "grid"), [((4, 6, 8), (2, 3, 4)), ((4, 6, 8), (4, 3, 2))])
def test_folding_pools_volumes_to_the_grid(size, grid):
    x = torch.randn(2, 3, *size)
    window = tuple(s // g for s, g in zip(size, grid, strict=True))
    pooled = rows(F.avg_pool3d(x.double(), window))
    np.testing.assert_allclose(fold(x, grid), pooled, atol=1e-12)


def test_folding_pools_where_the_sizes_do_not_divide():
    x = torch.arange(5.0).reshape(1, 1, 1, 5)
    assert fold(x, (1, 2)).flatten().tolist() == [1.0, 3.0]  # windows 0 to 2 and 2 to 4


def test_the_shared_grid_is_the_smaller_size_in_each_dimension():
    assert shared_grid((4, 8), (6, 2)) == (4, 2)
    with pytest.raises(DataError, match=r"sizes \(4, 4\) and \(2, 4, 4\) share no grid"):
        shared_grid((4, 4), (2, 4, 4))


def test_a_missing_map_is_named():
    batch = maps(2)
    with pytest.raises(UnknownNameError, match=r"unknown feature map 'c'. Allowed: a, b"):
        Moments(PAIRS).update({"a": batch["a"], "b": batch["b"]})
    with pytest.raises(UnknownNameError, match=r"unknown pair of maps 'a c'.*Allowed: a b, a a"):
        filled(batch).pair("a", "c")


def test_batches_that_do_not_match_are_errors():
    batch = maps(3)
    with pytest.raises(DataError, match=r"unequal numbers of images: \{'a': 3, 'b': 2, 'c': 3\}"):
        Moments(PAIRS).update({**batch, "b": batch["b"][:2]})
    with pytest.raises(DataError, match=r"'b' \(channels, \*spatial\) changed from \(3, 4, 4\) to"):
        filled(batch).update({**batch, "b": batch["b"][..., :3]})


def test_moments_of_other_maps_do_not_merge():
    with pytest.raises(DataError, match=r"\(\('a', 'b'\),\) cannot be merged"):
        filled(maps(2)).merge(Moments([("a", "b")]))
    narrow = {k: x[:, :2] for k, x in maps(2).items()}
    with pytest.raises(DataError, match=r"'a': \(5, 4, 4\).*'a': \(2, 4, 4\).* cannot be merged"):
        filled(maps(2)).merge(filled(narrow))


def test_too_few_samples_and_values_that_are_not_finite_are_errors():
    with pytest.raises(DataError, match="a and b: covariances need two samples, got 0"):
        Moments(PAIRS).pair("a", "b")
    for value in (float("nan"), float("inf")):
        batch = maps(3)
        batch["b"][2, 1, 0, 0] = value
        with pytest.raises(DataError, match="the maps of 'b' have values that are not finite"):
            filled(batch).pair("a", "b")


def test_whole_numbers_are_taken_as_they_are():
    x = torch.randint(0, 100, (20, 3), generator=torch.Generator().manual_seed(0))
    moments = Moments([("x", "x")])
    moments.update({"x": x})
    np.testing.assert_allclose(moments.pair("x", "x").xx, np.cov(x.T, bias=True), rtol=1e-12)


def test_gradients_are_not_recorded():
    moments = Moments([("x", "x")])
    moments.update({"x": torch.randn(5, 2, requires_grad=True)})
    assert not moments.pair("x", "x").xx.requires_grad

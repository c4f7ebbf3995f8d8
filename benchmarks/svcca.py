"""SVCCA from streamed moments beside the published algorithm in NumPy: time, memory, agreement.

    python benchmarks/svcca.py                # every size, some ten minutes
    python benchmarks/svcca.py --quick        # 256 and 512 channels alone, a minute
    python benchmarks/svcca.py --limit        # this package and its products alone, two minutes

The published algorithm, after Raghu et al. 2017 and Google's code for it: covariances of all
channels of both sides, each divided by its largest entry, pseudo-inverses, their square roots by
eigenvectors, and an SVD. SVCCA decomposes the activations by an SVD first and keeps 99 % of the
variance. Activations are float32, as networks give them; both compute in float64. "Products" is
what BLAS takes for the covariances' products alone, of float64 in memory. Every measurement is a
process of its own, and the methods take turns. Drawing the activations is not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg.blas import dgemm, dsyrk

from ttl_lightning.interpret.moments import Moments
from ttl_lightning.interpret.svcca import similarity
from ttl_lightning.runtime.memory import peak_memory_mb, reset_peak_memory

Floats = npt.NDArray[np.float64]

SIZES, QUICK = (256, 512, 1024, 2048), (256, 512)
SAMPLES, MORE_SAMPLES, BATCH = 50_000, 200_000, 2_000
VARIANCE = 0.99
CPU = torch.device("cpu")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} channels alone")
    parser.add_argument("--limit", action="store_true", help="beside its products alone")
    parser.add_argument("--smoke", action="store_true", help="few channels and samples")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", nargs=3, metavar=("METHOD", "CHANNELS", "SAMPLES"))
    options = parser.parse_args()
    if options.child:
        method, channels, samples = options.child
        print(json.dumps(METHODS[method](int(channels), int(samples), sys.stdin.read())))
        return
    few, many = (BATCH, 2 * BATCH) if options.smoke else (SAMPLES, MORE_SAMPLES)
    sizes = (64,) if options.smoke else QUICK if options.quick else SIZES
    if options.limit:
        limit(sizes, few, options)
        return
    print(
        f"{few:,} samples, {options.threads} threads\n\n"
        "| channels | CCA s | published s | ratio | SVCCA s | published s | ratio "
        "| memory MB | published CCA MB | published SVCCA MB | largest difference "
        "| products s | CCA / products | SVCCA / products |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for channels in sizes:
            print(row(channels, few, options, Path(folder)), flush=True)
        print("\n| channels | samples | memory MB |\n|---|---|---|")
        channels = sizes[min(1, len(sizes) - 1)]
        for samples in (few, many):
            ours = child("streamed", channels, samples, options.threads, Path(folder))
            print(f"| {channels} | {samples:,} | {ours['memory_mb']:.0f} |", flush=True)


def row(channels: int, samples: int, options: argparse.Namespace, folder: Path) -> str:
    """One size's line of the table."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(options.rounds):
        for method in METHODS:
            found = child(method, channels, samples, options.threads, folder)
            best[method] = {k: min(v, best.get(method, found)[k]) for k, v in found.items()}
    ours, plain, truncating = best["streamed"], best["cca"], best["svcca"]
    gap = max(
        np.abs(np.load(folder / f"streamed-{kind}.npy") - np.load(folder / f"{kind}.npy")).max()
        for kind in ("cca", "svcca")
    )
    times = []
    for kind, theirs in (("cca_s", plain), ("svcca_s", truncating)):
        times.append(f"{ours[kind]:.2f} | {theirs[kind]:.2f} | {theirs[kind] / ours[kind]:.1f}")
    held = ("streamed", "cca", "svcca")
    peaks = " | ".join(f"{best[method]['memory_mb']:.0f}" for method in held)
    least = best["products"]["cca_s"]
    limits = " | ".join(f"{ours[kind] / least:.2f}" for kind in ("cca_s", "svcca_s"))
    cells = (channels, *times, peaks, f"{gap:.0e}", f"{least:.2f}", limits)
    return f"| {' | '.join(map(str, cells))} |"


def limit(sizes: tuple[int, ...], samples: int, options: argparse.Namespace) -> None:
    """Print what the whole takes beside the products that nothing can do without."""
    print(f"{samples:,} samples, {options.threads} threads\n")
    print("| channels | products s | CCA s | ratio | SVCCA s | ratio |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for channels in sizes:
            pairs = [
                [
                    child(method, channels, samples, options.threads, Path(folder))
                    for method in ("products", "streamed")
                ]
                for _ in range(options.rounds)
            ]
            least = min(one["cca_s"] for one, _ in pairs)
            cells = []
            for kind in ("cca_s", "svcca_s"):
                ours = min(other[kind] for _, other in pairs)
                cells += [f"{ours:.2f}", f"{ours / least:.2f}"]
            print(f"| {channels} | {least:.2f} | {' | '.join(cells)} |", flush=True)


def child(method: str, channels: int, samples: int, threads: int, folder: Path) -> dict[str, float]:
    """Measure in a fresh process, which leaves its coefficients in the folder."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, "--child", method, str(channels), str(samples)],
        input=str(folder),
        env=os.environ | dict.fromkeys(names, str(threads)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def streamed(channels: int, samples: int, folder: str) -> dict[str, float]:
    """This package's, batch by batch."""
    reset_peak_memory(CPU)
    before, seconds = peak_memory_mb(CPU), 0.0
    moments = Moments([("x", "y")])
    for x, y in batches(channels, samples):
        seconds += timed(lambda x=x, y=y: moments.update({"x": x, "y": y}))[0]
    found = {}
    for kind, variance in (("cca", 1.0), ("svcca", VARIANCE)):
        took, result = timed(
            lambda variance=variance: similarity(moments.pair("x", "y"), variance).coefficients
        )
        found[f"{kind}_s"] = seconds + took
        np.save(Path(folder) / f"streamed-{kind}.npy", result)
    return {**found, "memory_mb": peak_memory_mb(CPU) - before}


def products(channels: int, samples: int, _: str) -> dict[str, float]:
    """The limit: BLAS alone on float64 in memory, the products xx, xy, yy and nothing else.

    The faster of torch's and SciPy's, of symmetric products one triangle where that is faster.
    """
    x, y = (torch.cat(parts).double() for parts in zip(*batches(channels, samples), strict=True))
    a, b = x.numpy().T, y.numpy().T  # in Fortran's order, so that nothing is copied
    symmetric = [lambda: (dsyrk(1.0, a), dgemm(1.0, a, b, trans_b=True), dsyrk(1.0, b))]
    full = [lambda: (x.T @ x, x.T @ y, y.T @ y)]
    took = min(timed(work)[0] for work in (symmetric + full) * 2)
    return {"cca_s": took}


def published(kind: str) -> Callable[[int, int, str], dict[str, float]]:
    """The published algorithm, of activations that are all held in memory."""

    def measure(channels: int, samples: int, folder: str) -> dict[str, float]:
        reset_peak_memory(CPU)
        before = peak_memory_mb(CPU)
        x, y = (np.empty((channels, samples), np.float32) for _ in range(2))
        for i, parts in enumerate(batches(channels, samples)):
            for whole, part in zip((x, y), parts, strict=True):
                whole[:, i * BATCH : i * BATCH + len(part)] = part.numpy().T
        took, result = timed(
            lambda: published_cca(x, y) if kind == "cca" else published_cca(leading(x), leading(y))
        )
        np.save(Path(folder) / f"{kind}.npy", result)
        return {f"{kind}_s": took, "memory_mb": peak_memory_mb(CPU) - before}

    return measure


def published_cca(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Floats:
    """Canonical correlations of activations (channels, samples)."""
    p = len(x)
    covariance = np.cov(x, y)
    xx, xy, yy = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
    x_max, y_max = np.abs(xx).max(), np.abs(yy).max()
    left, right = (root(np.linalg.pinv(c)) for c in (xx / x_max, yy / y_max))
    return np.linalg.svd(left @ (xy / np.sqrt(x_max * y_max)) @ right)[1]


def root(matrix: Floats) -> Floats:
    """The square root of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(values)) @ vectors.T


def leading(x: npt.NDArray[Any]) -> Floats:
    """Singular directions that hold the variance, (directions, samples)."""
    centred = x - x.mean(1, keepdims=True, dtype=np.float64)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    kept = np.searchsorted(np.cumsum(values**2) / np.sum(values**2), VARIANCE) + 1
    return np.diag(values[:kept]) @ vectors[:kept]


def batches(channels: int, samples: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rectified mixtures of shared sources, the same ones for every method."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(2, channels // 4, channels, generator=generator)
    for start in range(0, samples, BATCH):
        rows = min(BATCH, samples - start)
        sources = torch.randn(rows, channels // 4, generator=generator)
        noise = torch.randn(2, rows, channels, generator=generator)
        x, y = (sources @ mixing + 4 * noise).relu()
        yield x, y


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what was computed."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


METHODS: dict[str, Callable[[int, int, str], dict[str, float]]] = {
    "products": products,
    "streamed": streamed,
    "cca": published("cca"),
    "svcca": published("svcca"),
}


if __name__ == "__main__":
    main()

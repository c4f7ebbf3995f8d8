"""The work that every peer does, and what is noted of it: `Work` in, a JSON line of `Noted` out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SPAWNED = "PEER_SPAWNED"
"""Environment variable: when the process was started, in seconds since the epoch."""


@dataclass(frozen=True)
class Work:
    """The same for every peer.

    Attributes:
        folder: has `train/CLASS/` and `val/CLASS/` of image files.
        network: timm's name.
        weights: its pretrained ones, .safetensors by timm's names without the classifier; None:
            random ones.
        mean, std: of the weights' pixels, one a channel.
        pixels: height and width of the network's input.
        batch: images.
        epochs: of training, each followed by a validation.
        workers: of the loaders.
        rate: the largest learning rate of AdamW.
        precision: "float32", or "auto": what a peer chooses by itself.
    """

    folder: str
    network: str
    weights: str | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pixels: int
    batch: int
    epochs: int
    workers: int
    rate: float = 1e-3
    precision: str = "float32"

    @classmethod
    def given(cls) -> Work:
        """That of the command line, as `run.py` writes it."""
        return cls(**json.loads(sys.argv[1]))

    def files(self, split: str) -> list[tuple[str, int]]:
        """Files of a split with the numbers of their classes, sorted."""
        classes = sorted(path.name for path in Path(self.folder, split).iterdir())
        return [
            (str(path), number)
            for number, name in enumerate(classes)
            for path in sorted(Path(self.folder, split, name).iterdir())
        ]


@dataclass
class Noted:
    """Of one process.

    Attributes:
        first_batch_s: from its start to its first training step.
        train: images a second of each epoch of training.
        val: images a second of each validation.
        auroc: after each epoch.
        at_s: seconds from its start to the end of each validation.
        settings: what the peer chose.
    """

    first_batch_s: float | None = None
    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    auroc: list[float] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    _begun: float = 0.0

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The batches of an epoch of training; the first one of all is noted."""
        self.begin()
        for batch in loader:
            self.step()
            yield batch

    def step(self) -> None:
        """A training step begins."""
        if self.first_batch_s is None:
            self.first_batch_s = since_spawned()

    def begin(self) -> None:
        """An epoch of training, or a validation, begins."""
        self._begun = time.perf_counter()

    def trained(self, images: int) -> None:
        """An epoch of training is done."""
        self.train.append(images / (time.perf_counter() - self._begun))

    def validated(self, images: int, auroc: float) -> None:
        """A validation is done."""
        self.val.append(images / (time.perf_counter() - self._begun))
        self.auroc.append(auroc)
        self.at_s.append(since_spawned())

    def told(self) -> str:
        """As JSON."""
        return json.dumps({k: v for k, v in asdict(self).items() if not k.startswith("_")})

    def say(self) -> None:
        """Print it, as the last line."""
        print(self.told())


def since_spawned() -> float:
    """Seconds since this process was started."""
    return time.time() - float(os.environ[SPAWNED])


def network(work: Work, classes: int = 2) -> Any:  # noqa: ANN401
    """The network of timm with the weights and a new classifier."""
    import timm
    from safetensors.torch import load_file

    model = timm.create_model(work.network, num_classes=classes)
    if work.weights:
        missing, unexpected = model.load_state_dict(load_file(work.weights), strict=False)
        assert not unexpected
        assert all(key.startswith("classifier.") for key in missing), missing
    return model


def auroc(labels: Sequence[int], probabilities: Sequence[float]) -> float:
    """Of the second class."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, probabilities))


def loop(
    work: Work,
    model: Any,  # noqa: ANN401 - torch is imported by the peers alone
    loaders: tuple[Any, Any],
    optimizer: Any,  # noqa: ANN401
    schedule: Any,  # noqa: ANN401
    noted: Noted,
    unpack: Callable[[Any], tuple[Any, Any]] = tuple,
) -> None:
    """The training loop that one writes by hand, with a validation after each epoch.

    Args:
        work: whose epochs are trained.
        model: gives logits.
        loaders: of training and of validation batches.
        optimizer: of the model.
        schedule: is stepped after every step, if there is one.
        noted: is filled.
        unpack: images and labels of a batch.
    """
    import torch

    train, val = loaders
    for _ in range(work.epochs):
        model.train()
        images = 0
        for batch in noted.batches(train):
            x, y = unpack(batch)
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            images += len(x)
        noted.trained(images)
        noted.begin()
        model.eval()
        labels, found = [], []
        with torch.inference_mode():
            for batch in val:
                x, y = unpack(batch)
                found += model(x).softmax(1)[:, 1].tolist()
                labels += y.tolist()
        noted.validated(len(labels), auroc(labels, found))

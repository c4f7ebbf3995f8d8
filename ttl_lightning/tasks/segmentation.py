"""The task of segmentation: which pixels are of which region."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.metrics.scores import Scores
from ttl_lightning.metrics.segmentation import DISTANCES, MaskScores, distances, overlaps, score
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.class_weights import balanced, checked
from ttl_lightning.tasks.gather import Rows
from ttl_lightning.tasks.hooks import Batch
from ttl_lightning.tasks.judged import Judged
from ttl_lightning.tasks.mask_figure import Example, chosen, examples_figure
from ttl_lightning.tasks.mask_losses import check_loss, mask_losses, mask_probabilities
from ttl_lightning.tasks.masks import (
    judged_masks,
    labelled,
    most_marked,
    on_own_grid,
    reference_regions,
)
from ttl_lightning.tasks.pictures import png
from ttl_lightning.tasks.segmentation_report import EXAMPLES, SEGMENTATION

WINDOWS_AT_ONCE = 4


class SegmentationTask(Task):
    """Trains and scores a model of masks; batches are as `data.views.masks` says.

    Scores are of each image on its own grid. Distances are measured once training is over.

    Args:
        model: (N, C, *spatial) -> logits (N, K, *spatial).
        regions: names of what masks tell apart, without the background.
        overlap: whether a pixel may be of several.
        loss: as of `mask_losses`.
        class_weights: likewise, or None; a configuration's "balanced" is made of training pixels.
        focal_gamma: likewise.
        window: spatial size of what is seen at once; None: of all that there is.
        save_masks: whether a run leaves the masks that it predicts for the test split.

    Other arguments are those of `Task`.

    Raises:
        ConfigError: an unknown loss or monitor, or a number out of range.
    """

    report = SEGMENTATION
    remembered = ("regions", "overlap", "window")
    suspects = "the images and masks"
    fewest_outputs = 1

    def __init__(
        self,
        model: nn.Module,
        *,
        regions: Sequence[str],
        overlap: bool = False,
        loss: str = "dice_ce",
        class_weights: Sequence[float] | None = None,
        focal_gamma: float = 2.0,
        window: Sequence[int] | None = None,
        save_masks: bool = False,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        learning_rate: float = 1e-4,
        pretrained_lr_factor: float = 1.0,
        scheduler: Callable[..., LRScheduler | ReduceLROnPlateau] | None = None,
        scheduler_interval: str = "epoch",
        monitor: str | None = None,
        lr_floor: float | None = None,
    ) -> None:
        super().__init__(
            model,
            optimizer=optimizer,
            learning_rate=learning_rate,
            pretrained_lr_factor=pretrained_lr_factor,
            scheduler=scheduler,
            scheduler_interval=scheduler_interval,
            monitor=monitor,
            lr_floor=lr_floor,
        )
        check_loss(loss, focal_gamma)
        self.regions, self.overlap = tuple(regions), overlap
        names = [metric.name for metric in SEGMENTATION.metrics if metric.name not in DISTANCES]
        keys = ["loss", *names, *(f"{name}/{region}" for name in names for region in regions)]
        check_choice("protocol.monitor", self.monitor, [f"val/{key}" for key in keys])
        outputs = _outputs(len(self.regions), overlap=overlap)
        self.class_weights: Tensor | None
        weights = checked(class_weights, outputs)
        self.register_buffer("class_weights", weights, persistent=False)
        self.window = None if window is None else tuple(window)
        self.save_masks = save_masks
        self._loss, self._focal_gamma = loss, focal_gamma

    @classmethod
    def check_protocol(cls, protocol: Mapping[str, Any]) -> None:
        """The loss, too, must be one there is."""
        check_loss(protocol["loss"], protocol["focal_gamma"])
        super().check_protocol(protocol)

    @classmethod
    def num_outputs(cls, data: Any) -> int:
        """One for each region, and one for the background where several exclude each other."""
        return _outputs(len(_regions(data)), overlap=data.overlap)

    @classmethod
    def settings(
        cls, data: Any, protocol: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Regions are those of the data, and so is what the network sees at once."""
        weights = options.get("class_weights")
        if weights == "balanced":
            exclusive = not data.overlap and len(data.regions) > 2
            counts = data.pixel_counts()[-cls.num_outputs(data) :]
            weights = balanced(*counts.T, exclusive=exclusive).tolist()
        return {
            **options,
            "class_weights": weights,
            "loss": protocol["loss"],
            "focal_gamma": protocol["focal_gamma"],
            "regions": _regions(data),
            "overlap": data.overlap,
            "window": data.view.window,
        }

    @property
    def exclusive(self) -> bool:
        """Whether logits are of classes of which a pixel has one, the background among them."""
        return not self.overlap and len(self.regions) > 1

    def outputs(self, batch: Batch) -> Tensor:
        """The logits of a batch, (N, K, *spatial); of what is larger than a window, by windows.

        Raises:
            ConfigError: if these are no masks.

        Source: MONAI's sliding windows, half of each overlapping, the middle of each counting most.
        """
        images = batch["image"]
        window = self.window or tuple(images.shape[2:])
        if all(size <= most for size, most in zip(images.shape[2:], window, strict=True)):
            logits = super().outputs(batch)
            if logits.ndim != images.ndim:
                raise ConfigError("the model's head gives no masks: task.head=unet does.")
            return logits
        from monai.inferers.utils import sliding_window_inference

        found = sliding_window_inference(
            images, window, WINDOWS_AT_ONCE, self.model, overlap=0.5, mode="gaussian"
        )
        return cast(Tensor, found).float()

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """See `mask_losses`."""
        return self._losses(outputs, batch).mean()

    def _losses(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return mask_losses(
            outputs, batch["mask"], self._loss, self.class_weights, self._focal_gamma
        )

    def rows(self, outputs: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Each image's loss, and its metrics on its own grid."""
        shown = mask_probabilities(outputs, exclusive=self.exclusive)
        spacings = batch.get("spacing", [None] * len(outputs))
        images = zip(shown, batch["place"], batch["reference"], spacings, strict=True)
        found = [self._scored(*image) for image in images]
        rows = {key: torch.from_numpy(np.stack([row[key] for row in found])) for key in found[0]}
        return {"loss": self._losses(outputs, batch), **rows}

    def _scored(
        self, shown: Tensor, place: Tensor, reference: Any, spacing: Sequence[float] | None
    ) -> dict[str, Any]:
        """What is kept of one image beside its loss."""
        mask = torch.as_tensor(reference)
        predicted = self.masks(shown, place, mask.shape[-len(place) :])
        expected, known = reference_regions(mask, len(self.regions), overlap=self.overlap)
        ours, theirs = ((m & known).numpy() for m in (predicted.cpu(), expected))
        space = tuple(range(1, ours.ndim))
        kept = {
            "reference": theirs.sum(axis=space),
            "predicted": ours.sum(axis=space),
            "measured": np.bool_(spacing is not None),
            **overlaps(ours, theirs),
        }
        return kept if self._fitting() else {**kept, **distances(ours, theirs, spacing)}

    def masks(self, shown: Tensor, place: Tensor, shape: Sequence[int]) -> Tensor:
        """One image's regions on its own grid, (regions, *shape) bool.

        Args:
            shown: probabilities (K, *spatial).
            place: as of a batch.
            shape: of the image.
        """
        return labelled(on_own_grid(shown, place, shape), exclusive=self.exclusive)

    def split_loss(self, rows: Rows) -> float:
        """The mean loss over images."""
        return float(rows["loss"].mean())

    def table(self, rows: Rows) -> MaskScores:
        """The metrics of each image."""
        names = [metric.name for metric in SEGMENTATION.metrics if metric.name in rows]
        values = {name: rows[name] for name in names}
        return MaskScores(
            rows["id"], values, rows["reference"], rows["predicted"], rows["measured"]
        )

    def score(self, table: MaskScores) -> Scores:
        """See `metrics.segmentation.score`."""
        return score(table, self.regions)

    def judged(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Judged:
        """See `judged_masks`."""
        shown = mask_probabilities(outputs.detach().cpu().double(), exclusive=self.exclusive)
        masks = batch["mask"].cpu()
        return judged_masks(
            shown, masks, self.regions, exclusive=self.exclusive, overlap=self.overlap
        )

    def excerpt(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Of a volume the window about the slice of which the reference marks most."""
        images, masks = batch["image"], batch["mask"]
        if self.window is None or images.ndim == 4:
            return dict(batch)
        cut = list(enumerate(most_marked(masks, self.window[0])))
        return {
            **batch,
            "image": torch.stack([images[number][:, part] for number, part in cut]),
            "mask": torch.stack([masks[number][part] for number, part in cut]),
        }

    def extras(self, data: Any) -> Iterator[tuple[str, bytes]]:
        """A figure of the worst, median and best test image, and the masks if they are asked for.

        Masks are files as `DataModule.mask_files` makes them, below `predictions/`.
        """
        shown, examples = chosen(self.predictions["test"]), {}
        self.eval()  # Lightning gives back the mode of before its test
        for batch in data.plain_dataloader("test"):
            if not self.save_masks and shown.keys().isdisjoint(batch["id"].tolist()):
                continue
            seen = self._seen(batch)
            for place, number in enumerate(batch["id"].tolist()):
                if number in shown:
                    examples[number] = self._example(shown[number], batch, seen, place)
                if self.save_masks:
                    mask = self._on_image(seen, batch, place)
                    for name, content in data.mask_files("test", number, mask.numpy()):
                        yield f"predictions/{name}", content
        figure = examples_figure([examples[n] for n in shown if n in examples], self.regions)
        yield EXAMPLES, png(figure)

    def masks_of(self, batch: Batch) -> list[Tensor]:
        """Each image's regions on its own grid, (regions, *shape) bool, on the CPU."""
        seen = self._seen(batch)
        return [self._on_image(seen, batch, place) for place in range(len(seen))]

    def _seen(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            batch["image"] = batch["image"].to(self.device)
            return mask_probabilities(self.outputs(batch), exclusive=self.exclusive).cpu()

    def _on_image(self, seen: Tensor, batch: Batch, place: int) -> Tensor:
        size = batch["reference"][place].shape[-batch["place"].shape[1] :]
        return self.masks(seen[place], batch["place"][place], size)

    def _example(self, title: str, batch: Batch, seen: Tensor, place: int) -> Example:
        """What a figure shows of an image, as the network sees it."""
        image = batch["image"][place].cpu().mean(0)
        known = batch["mask"][place]
        expected, _ = reference_regions(known, len(self.regions), overlap=self.overlap)
        ours = labelled(seen[place], exclusive=self.exclusive)
        if image.ndim == 3:  # of a volume the slice that has most
            best = int(expected.any(0).flatten(1).sum(1).argmax())
            image, expected, ours = image[best], expected[:, best], ours[:, best]
        return Example(title, image.numpy(), expected.numpy(), ours.numpy())

    def predict_step(self, batch: Batch) -> dict[str, Tensor]:
        """Predict one batch: "id" (N,) and "probabilities" (N, K, *spatial) of the view."""
        shown = mask_probabilities(self.outputs(batch), exclusive=self.exclusive)
        return {"id": batch["id"].cpu(), "probabilities": shown.cpu()}


def _regions(data: Any) -> tuple[str, ...]:
    names = tuple(data.regions)
    return names if data.overlap else names[1:]


def _outputs(regions: int, *, overlap: bool) -> int:
    return regions if overlap or regions == 1 else regions + 1

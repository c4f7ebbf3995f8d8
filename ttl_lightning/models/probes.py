"""The pooled features of each unit, which linear classifiers can be fitted to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ttl_lightning.errors import DataError
from ttl_lightning.models.backbones.base import Backbone

Floats = npt.NDArray[np.float64]


def pooled_features(backbone: Backbone, batches: Iterable[Tensor]) -> dict[str, Floats]:
    """Average every unit's map over its positions, all units in one pass.

    Evaluation mode, without gradients; the training mode is restored. Images are taken batch by
    batch and not kept: what is held is n times the sum of all units' channels, in float64.

    Args:
        backbone: on the device where it shall compute.
        batches: images `(N, C, *spatial)`, prepared as for evaluation.

    Returns:
        (n, channels) for each unit, in order.

    Raises:
        DataError: if there are no images.
    """
    device = next(backbone.parameters()).device
    pooled: dict[str, list[Floats]] = {name: [] for name in backbone.cutoffs}
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            for images in batches:
                for name, feature_map in backbone.features(images.to(device)):
                    means = feature_map.flatten(2).mean(2, dtype=torch.float64)
                    pooled[name].append(means.cpu().numpy())
    finally:
        backbone.train(was_training)
    if not pooled[backbone.cutoffs[0]]:
        raise DataError(f"there are no images to pool the features of {backbone.name} from.")
    # unit by unit, so that no more than one of them is held twice
    return {name: np.concatenate(pooled.pop(name)) for name in backbone.cutoffs}

"""Layer-wise finetuning: units up to the cutoff frozen, the rest at a tenth of the head's rate.

Source: Tajbakhsh et al., "Convolutional neural networks for medical image analysis: full training
or fine tuning?", and Section 3 of the paper. The authors' code meant the tenth but never had it in
effect.
"""

from __future__ import annotations

from ttl_lightning.models.strategies.ffe import split
from ttl_lightning.models.strategies.strategy import Strategy

LWFT = Strategy(
    "lwft",
    "layer-wise finetuning: units up to the cutoff frozen, the rest at a tenth of the head's rate",
    "layer-wise",
    "#cc79a7",
    split,
    needs_cutoff=True,
    tuned_lr_factor=0.1,
)

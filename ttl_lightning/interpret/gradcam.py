"""Where in an image a class's logit comes from: Grad-CAM, for images and volumes alike.

MONAI's `GradCAM` does the arithmetic. Four of its habits are kept away from the caller's model and
images: it leaves hooks behind and clears gradients (so it gets a copy), it mixes the images of a
batch where each has a predicted class of its own (so it gets one score an image), it hooks a module
(and the map of a DenseNet's unit, a concatenation, is no module's output), and its normalisation
turns the scale round (so this module has its own).

Source: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization (ICCV 2017), section 3; monai.visualize.GradCAM.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError, check_number
from ttl_lightning.models.backbones.units import Unit
from ttl_lightning.models.heads.linear import LinearHead
from ttl_lightning.models.strategies.base import TransferModel


def grad_cam(
    model: TransferModel,
    images: Tensor,
    class_index: int | Sequence[int] | None = None,
    unit: str | None = None,
    where: Tensor | None = None,
) -> Tensor:
    """How much each place speaks for a class: `(N, *spatial)` from 0 to 1, on the images' grid.

    The unit's channels, each weighted with the mean gradient of the class's logit, are added up and
    what is negative is set to 0. MONAI brings that to the images' size by linear interpolation
    between the centres of the map's cells (`align_corners=False`; constant beyond the outermost
    centres). Each image's map is then divided by its largest value: 0 stays "nothing here speaks
    for the class", in a map of zeros too, and maps of two images do not compare in height.

    The model works in evaluation mode, on a copy: nothing of the caller's changes. Units that a
    strategy holds frozen are explained like all others.

    Args:
        model: the model.
        images: `(N, C, *spatial)`, scaled as for training, on the model's device.
        class_index: a class for all images, or one for each; None takes those predicted.
        unit: the unit whose map is weighted, any that a cutoff can name; None takes the last one.
        where: of a model of masks, the places (N, *spatial) bool whose logits are explained, in the
            mean; of an image without one, and by default, those of all places.

    Raises:
        UnknownCutoffError: if the model's backbone has no such unit.
        ConfigError: if a class is out of range, there are not as many classes as images, or the
            model does not take images of this shape.

    Source: Selvaraju et al. (ICCV 2017), equations 1 and 2; for masks Vinogradova, Dibrov and
        Myers, "Towards interpretable semantic segmentation via gradient-weighted class activation
        mapping", AAAI 2020.
    """
    name = model.backbone.resolve("full" if unit is None else unit)
    _check_shape(model, images)
    from monai.visualize.class_activation_maps import GradCAM

    # also where the caller only predicts, as Lightning does when it validates
    with torch.inference_mode(mode=False), torch.enable_grad():
        own = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
        scored = _Scored(own, name, _classes(own, images, class_index), where)
        cam = GradCAM(scored, "map", postprocessing=_share_of_largest)
        heat: Tensor = cam(images, class_idx=0)
    return heat.squeeze(1).detach()


class _Scored(nn.Module):
    """The logit of each image's class, `(N, 1)`; a unit's map passes a module that can be hooked.

    It changes the model's modes and gradients, so that it must be given one of its own.
    """

    def __init__(
        self, model: TransferModel, unit: str, classes: Tensor, where: Tensor | None
    ) -> None:
        super().__init__()
        self.model, self.unit, self.classes, self.where = model, unit, classes, where
        self.map = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model.decoded(self._maps(self.model.enlarged(x)), x.shape[2:])
        picked = logits[torch.arange(len(logits)), self.classes].reshape(len(logits), -1)
        places = torch.ones_like(picked) if self.where is None else self.where.flatten(1).to(picked)
        places = torch.where(places.any(1, keepdim=True), places, 1.0)
        return (picked * places).sum(1, keepdim=True) / places.sum(1, keepdim=True)

    def _maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """As of `Backbone.pyramid`, but that the gradient starts at the unit's map."""

        def begin(unit: Unit, out: Tensor) -> Tensor:
            if unit.name != self.unit:
                return out
            # Whatever is frozen before it. The next unit may write in place into what it is given
            # (ReLU): it gets a copy.
            begun: Tensor = self.map(out.detach().requires_grad_()).clone()
            return begun

        backbone = self.model.backbone
        return backbone.levels_of(backbone.walk(x, begin))


def _share_of_largest(heat: Tensor) -> Tensor:
    largest = heat.flatten(1).amax(1).reshape(-1, *[1] * (heat.ndim - 1))
    return heat / torch.where(largest > 0, largest, 1.0)


def _classes(
    model: TransferModel, images: Tensor, class_index: int | Sequence[int] | None
) -> Tensor:
    with torch.no_grad():
        logits = model(images)
    classes = logits.shape[1]
    if class_index is None:
        predicted: Tensor = logits.reshape(*logits.shape[:2], -1).mean(2).argmax(1)
        return predicted
    given = [class_index] * len(images) if isinstance(class_index, int) else list(class_index)
    for value in given:
        check_number("class_index", value, 0, classes - 1, integer=True)
    if len(given) != len(images):
        raise ConfigError(
            f"class_index must be one class or one for each image, got {len(given)} classes for "
            f"{len(images)} images."
        )
    return torch.tensor(given, device=images.device)


def _check_shape(model: TransferModel, images: Tensor) -> None:
    backbone, head = model.backbone, model.head
    spatial = list(images.shape[2:])
    shape = backbone.input_shape(spatial)
    if images.shape[1] != backbone.in_channels:
        raise ConfigError(
            f"images must have {backbone.in_channels} channels, as data.in_channels had when the "
            f"model was made, got {images.shape[1]}."
        )
    if not isinstance(head, LinearHead):
        return
    features = math.prod(backbone.output_shape(shape[1:]))
    if not head.pooling and features != head.fc.in_features:
        raise ConfigError(
            f"the model has no pooling and takes images of the data.image_size that it was made "
            f"for only ({head.fc.in_features} features), got {spatial} ({features} features)."
        )

"""A run's network as timm's own of the same name, where it is that."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ttl_lightning.errors import ConfigError
from ttl_lightning.exports.contract import Contract
from ttl_lightning.models.heads.linear import LinearHead
from ttl_lightning.models.strategies.base import TransferModel

OTHERS = "format=onnx, pt2, safetensors and bundle take every network"


def timm_tensors(model: TransferModel) -> tuple[dict[str, Tensor], str]:
    """The tensors of timm's network of the same name, and the name of its last layer.

    Raises:
        ConfigError: if timm has no network that is this one.
    """
    import timm

    backbone, head = model.backbone, model.head
    at = f"{backbone.name} with strategy={model.strategy.name}"
    if not timm.is_model(backbone.name):
        raise ConfigError(f"format=timm: timm has no network {backbone.name}; {OTHERS}.")
    if not isinstance(head, LinearHead) or not head.pooling:
        raise ConfigError(
            "format=timm: timm's networks end in a pooled linear layer, and this one does not; "
            f"{OTHERS}."
        )
    channels, classes = backbone.in_channels, head.fc.out_features
    whole: Any = timm.create_model(
        backbone.name, pretrained=False, num_classes=classes, in_chans=channels
    )
    classifier: str = whole.default_cfg["classifier"]
    found: dict[str, Any] = dict(backbone.state_dict())
    found |= {f"{classifier}.{key}": value for key, value in head.fc.state_dict().items()}
    wanted: dict[str, Tensor] = whole.state_dict()
    if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in wanted.items()}:
        raise ConfigError(
            f"format=timm: timm's {backbone.name.partition('.')[0]} has other layers than {at} "
            f"cutoff={model.cutoff} leaves, so it cannot load them; {OTHERS}."
        )
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in found.items()}
    return tensors, classifier


def timm_config(name: str, contract: Contract, features: int) -> dict[str, Any]:
    """`config.json` in the layout of timm's hub.

    Args:
        name: of the backbone.
        contract: of the run.
        features: what the last layer takes.
    """
    labels = list(contract.outputs)
    return {
        "architecture": name.partition(".")[0],
        "num_classes": len(labels),
        "num_features": features,
        "pretrained_cfg": {
            "input_size": [contract.in_channels, *contract.image_size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": round(1 / contract.factor, 6),
            "crop_mode": "squash" if contract.fit == "squash" else "center",
            "mean": list(contract.mean),
            "std": list(contract.std),
            "num_classes": len(labels),
        },
        "model_args": {"in_chans": contract.in_channels},
        "label_names": labels,
    }

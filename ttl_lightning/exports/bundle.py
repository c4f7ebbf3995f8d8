"""What a MONAI bundle says of itself, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttl_lightning.exports.contract import Contract


def bundle_metadata(contract: Contract, title: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """What MONAI's schema asks a bundle to say of itself.

    Args:
        contract: of the run.
        title: of the run, in words.
        versions: of packages.
    """
    shape = contract.shape(inside=True)
    labels = {str(number): name for number, name in enumerate(contract.outputs)}
    given = {"type": "image", "format": "magnitude", "modality": "n/a", "dtype": "float32"}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
        "0.8.1/meta_schema_20220324.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported by ttl_lightning"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"],
        "numpy_version": versions["numpy"],
        "optional_packages_version": {"pillow": versions["pillow"]},
        "task": contract.task,
        "description": title,
        "authors": "not said",
        "copyright": "not said",
        "network_data_format": {
            "inputs": {
                "image": {
                    **given,
                    "num_channels": shape[0],
                    "spatial_shape": list(shape[1:]),
                    "value_range": [0, 1],
                    "is_patch_data": contract.volume,
                    "channel_def": {str(n): name for n, name in enumerate(("R", "G", "B"))}
                    if shape[0] == 3
                    else {"0": "grey"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "segmentation" if contract.masks else "classification",
                    "num_channels": len(labels),
                    "spatial_shape": list(contract.image_size) if contract.masks else [1],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": contract.volume,
                    "channel_def": labels,
                }
            },
        },
    }


def bundle_inference(contract: Contract) -> dict[str, Any]:
    """How `python -m monai.bundle run` runs it, from the bundle's folder."""
    load = {
        "_target_": "scripts.LoadSquare",
        "size": contract.stored,
        "channels": contract.channels,
        "fit": contract.fit,
    }
    names = list(contract.outputs)
    return {
        "imports": ["$import scripts", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "images",
        "output_dir": "$@bundle_root + '/eval'",
        "files": "$scripts.files(@dataset_dir)",
        "preprocessing": {"_target_": "Compose", "transforms": [load]},
        "dataset": {"_target_": "Dataset", "data": "@files", "transform": "@preprocessing"},
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1 if contract.volume else 16,
            "shuffle": False,
            "num_workers": 0,
        },
        "network": "$torch.export.load(@bundle_root + '/models/model.pt2').module()",
        "inferer": {"_target_": "SimpleInferer"},
        "saver": {"_target_": "scripts.Saver", "folder": "@output_dir", "names": names},
        "run": ["$scripts.run(@dataloader, @network, @inferer, @saver)"],
    }

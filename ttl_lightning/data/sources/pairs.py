"""Which masks belong to which image, by the names of their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttl_lightning.data.samples import listed
from ttl_lightning.errors import DataError


def paired(
    images: Mapping[str, Path], masks: Mapping[str, Path], folder: Path
) -> dict[str, list[Path]]:
    """Files of masks by the image that their names begin with.

    Args:
        images: by name.
        masks: likewise.
        folder: of the masks, for errors.

    Raises:
        DataError: naming images without masks, or masks without images.
    """
    found: dict[str, list[Path]] = {name: [] for name in images}
    alone = []
    for name, path in masks.items():
        whose = owner(name, found)
        if whose is None:
            alone.append(name)
        else:
            found[whose].append(path)
    if alone:
        raise DataError(f"masks in {folder} have no image: {listed(alone)}.")
    without = [name for name, files in found.items() if not files]
    if without:
        raise DataError(f"images have no mask in {folder}: {listed(without)}.")
    return found


def owner(name: str, images: Mapping[str, Any]) -> str | None:
    """The longest name of an image that a mask's begins with, up to the end of a word."""
    for end in range(len(name), 0, -1):
        if name[:end] in images and (end == len(name) or not name[end].isalnum()):
            return name[:end]
    return None


def named_files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files below a folder by their paths from it, without suffix; hidden ones are passed over.

    Raises:
        DataError: if there are none, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith((".", "__MACOSX")) for part in inner.parts)
        if hidden or not path.is_file() or not path.name.lower().endswith(suffixes):
            continue
        name = inner.as_posix()
        ends = next(end for end in (".nii.gz", path.suffix.lower()) if name.lower().endswith(end))
        name = name[: -len(ends)]
        if name in found:
            raise DataError(f"{name!r} is both {found[name].name} and {path.name} in {folder}.")
        found[name] = path
    if not found:
        raise DataError(f"data.path: no images in {folder}, by names that end in "
                        f"{', '.join(suffixes)}.")  # fmt: skip
    return found

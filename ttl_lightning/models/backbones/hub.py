"""Weights on timm's hub: from its cache, or fetched; and the ways out where neither will do."""

from __future__ import annotations

import contextlib
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.checkpoints import cause

HUB_TIMEOUT_S = 4.0
FILES = ("model.safetensors", "pytorch_model.bin")


def from_hub(name: str, ways_out: Sequence[str]) -> Path:
    """The cached file of timm's default weights, fetched from the hub if it is not there yet.

    Args:
        name: of timm's network.
        ways_out: networks whose weights need no download, for the error.

    Raises:
        WeightsError: if there is neither.
    """
    import timm

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.hf_hub_id:
        raise WeightsError(
            f"timm has no pretrained weights for {name}: give backbone.weights=FILE or null."
        )
    files = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else FILES
    return _fetched(cfg.hf_hub_id, files, f"ImageNet weights for {name}", ways_out)


def from_repository(repository: str, ways_out: Sequence[str]) -> Path:
    """The weights of a repository in timm's layout, with the `config.json` that states its pixels.

    Args:
        repository: its name on the hub, with or without `@` and a revision.
        ways_out: as for `from_hub`.

    Raises:
        WeightsError: if it is neither in the cache nor can be fetched.
    """
    what = f"weights of hf_hub:{repository}"
    with contextlib.suppress(WeightsError):  # what is not stated, a run says
        _fetched(repository, ("config.json",), what, ways_out)
    return _fetched(repository, FILES, what, ways_out)


def _fetched(where: str, files: Sequence[str], what: str, ways_out: Sequence[str]) -> Path:
    """The first of some files that a repository has, from the cache or fetched."""
    import huggingface_hub

    repo, _, revision = where.partition("@")
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repo, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    reason = "the offline switch is set" if huggingface_hub.is_offline_mode() else _unreachable()
    if reason is None:
        try:
            for file in files:
                with contextlib.suppress(huggingface_hub.errors.EntryNotFoundError):
                    fetched = huggingface_hub.hf_hub_download(repo, file, revision=revision or None)
                    return Path(fetched)
            reason = f"the hub's {repo} holds neither of {', '.join(files)}"
        except Exception as error:  # noqa: BLE001 - a download can fail in as many ways as networks
            reason = f"the download failed ({cause(error)})"
    raise WeightsError(
        f"no {what}: not in the local cache and {reason}. Three ways out: run "
        "once with a network, or give backbone.weights=FILE (.pth or .safetensors), or take what "
        f"needs no download (backbone={', '.join(ways_out)}, or backbone.weights=null to train "
        "from scratch)."
    )


def _unreachable() -> str | None:
    """Why the hub cannot be reached, or None; asked once, since its client retries for long."""
    answers: queue.Queue[str | None] = queue.Queue()
    # In a thread, since the limit of urlopen does not bound the look-up of a name.
    threading.Thread(target=lambda: answers.put(_ask_hub()), daemon=True).start()
    try:
        return answers.get(timeout=HUB_TIMEOUT_S)
    except queue.Empty:
        return f"the hub gave no answer in {HUB_TIMEOUT_S:g} s"


def _ask_hub() -> str | None:
    from huggingface_hub.constants import ENDPOINT

    try:
        with urllib.request.urlopen(ENDPOINT, timeout=HUB_TIMEOUT_S):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        return f"the hub cannot be reached ({error})"

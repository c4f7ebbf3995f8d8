"""What every source is: typed options, checked when it is made, and what they lead to. No torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from ttl_lightning.data.folds import FEWEST, MOST, in_folds
from ttl_lightning.data.options import ImageView
from ttl_lightning.data.samples import SPLITS, Samples
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import ConfigError, DataError, check_number


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where samples come from; a subclass adds its options, and says what there is to load.

    Attributes:
        name: for results.
        seed: of what is drawn.
        view: how a network sees its samples.
        defaults: of options that are not the source's own, where they are others than elsewhere.
        used_splits: what its samples are for; all of these must have some.
        places: options that say where the data lie; for a run's identity their `content` counts.
        has_numbers: whether its labels may be numbers.
        numbers: labels are numbers, and not classes.
        folds: of a cross-validation; None: the splits that are given or drawn.
        fold: which of them is tested, from 0.

    Raises:
        TTLError: naming the key that is out of range, or the place that is not to be had.
    """

    view: ClassVar[type[ImageView] | type[WindowView]] = ImageView
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    used_splits: ClassVar[tuple[str, ...]] = SPLITS
    places: ClassVar[tuple[str, ...]] = ()
    has_numbers: ClassVar[bool] = False

    name: str
    seed: int = 0
    numbers: bool = False
    folds: int | None = None
    fold: int | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        check_number("data.seed", self.seed, 0, 2**32 - 1, integer=True)
        self._check_folds()
        if not isinstance(self.numbers, bool):
            raise ConfigError(f"data.numbers must be true or false, got {self.numbers!r}.")
        if self.numbers and not self.has_numbers:
            raise ConfigError(
                f"task=regression needs numbers, and data={self.name} has classes: data=csv and "
                "data=volumes read numbers from columns of a table."
            )

    def _check_folds(self) -> None:
        if self.folds is None:
            if self.fold is not None:
                raise ConfigError(f"data.fold={self.fold} is one of data.folds, which is null.")
            return
        check_number("data.folds", self.folds, FEWEST, MOST, integer=True)
        if self.fold is None:
            raise ConfigError(
                f"which of data.folds={self.folds}? Give data.fold, from 0 to {self.folds - 1}; "
                f"-m data.fold=range({self.folds}) trains all of them."
            )
        check_number("data.fold", self.fold, 0, self.folds - 1, integer=True)

    def split_samples(self, side: int) -> Samples:
        """The samples that `load` finds, in the splits that are asked for.

        Args:
            side: as of `load`.

        Raises:
            DataError: as of `load`.
        """
        samples = self.load(side)
        if self.folds is None or self.fold is None:
            return samples
        return in_folds(samples, self.folds, self.fold, self.seed)

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """What the data are, wherever they lie: hashes by name, found without decoding anything.

        Args:
            options: the source's, checked. Those that are not `places` count as they stand, so a
                source that draws its data from them needs no hash.

        Raises:
            DataError: if the data's place cannot be read.
        """
        del options
        return {}

    def prepare(self) -> None:  # noqa: B027 - most have nothing to do
        """Get what is not there yet, such as a download."""

    @abstractmethod
    def load(self, side: int) -> Samples:
        """Say what samples there are, without decoding files.

        Args:
            side: height and width at which pixels will be kept; who draws them draws them so.

        Raises:
            DataError: naming the file, folder or column that is not as it should be.
        """


def existing_path(path: str | Path | None) -> Path:
    """The file or folder that data.path names, seen from where the command was given.

    Raises:
        ConfigError: if none is given.
        DataError: if it does not exist.
    """
    if not path:
        raise ConfigError("data.path must name the data's file or folder, got nothing.")
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"data.path: no such file or folder: {found} (seen from {Path.cwd()}).")
    if (
        not found.is_file() and not found.is_dir()
    ):  # a pipe would be waited for, a device never ends
        raise DataError(f"data.path: {found} is neither a file nor a folder.")
    return found

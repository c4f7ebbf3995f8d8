"""What a model's outputs say of each image beside what is true, for those who ask why."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A batch of images.

    Attributes:
        names: of what each output stands for.
        probabilities: of it, (N, outputs), float64, on the CPU; of masks the mean where it is seen.
        true: the output that should be largest, (N,); of masks that of the largest region, -1 where
            there is none.
        predicted: the one that is, (N,), likewise.
        missed: how far each image is from being right, (N,), from 0 to 1.
        where: of masks the places where each output's region is seen, (N, outputs, *spatial) bool.
    """

    names: tuple[str, ...]
    probabilities: Tensor
    true: Tensor
    predicted: Tensor
    missed: Tensor
    where: Tensor | None = None

    def named(self, outputs: Tensor) -> list[str]:
        """The names of outputs, as of `true`."""
        return [self.names[number] if number >= 0 else "none" for number in outputs.tolist()]

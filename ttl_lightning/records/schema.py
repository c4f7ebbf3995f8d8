"""One run's result, to and from `result.json`: the only place that knows the schema."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from ttl_lightning.errors import DataError
from ttl_lightning.records.files import json_text, short, write_atomically
from ttl_lightning.records.folder import RunFolder

SCHEMA = 1
WAY_OUT = "The run that it is of goes on with resume=never, from the beginning."


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one run was and what came of it. What is undefined is None, its reason in `notes`.

    Attributes:
        status: `running`, `completed`, `paused` (at `until_epoch`), `failed` or `interrupted`;
            `pending` before training begins, which no file says.
        error: the cause, in one line, of a run that failed.
        cutoff: the unit's full name (`block3.6`), None for strategies that split nowhere.
        cutoff_index: its position, counted from 1.
        metrics: by `split/name`.
        intervals: 95 % bootstrap intervals of the test metrics, by the same names.
        operating: of decisions, the rule, the thresholds that it chose on validation by class, and
            both splits' metrics at them; empty where the task or the classes leave no choice.
        calibration: the temperature that was fitted on validation, and both splits' calibration
            error and log loss before and after.
        complexity: of the trained model, with that of the untruncated network under `untruncated`.
            `latency_ms` is by device, None where it could not be measured; its `ratio` is to the
            untruncated network's fastest pass, both timed by turns.
        train: epochs, times and speed.
        model: what, beside the fields above, is needed to build the model again and to feed it.
        weights: what was loaded into the backbone, if anything was.
        log_tail: of a job that failed, the last lines that it printed.
        identity: the values that bear on the result, by name; empty in files of older versions.
        config_sha256: fingerprint of these.
    """

    name: str
    data: str
    backbone: str
    strategy: str
    cutoff: str | None
    cutoff_index: int | None
    seed: int
    status: str = "pending"
    error: str | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    operating: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    complexity: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] | None = None
    model: dict[str, Any] = field(default_factory=dict)
    bad_images: list[dict[str, str]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    log_tail: list[str] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=dict)
    config_sha256: str | None = None
    schema: int = SCHEMA

    @property
    def succeeded(self) -> bool:
        """Whether the run did all that it was asked for: to its end, or to its pause."""
        return self.status in ("completed", "paused")

    @property
    def folds(self) -> int | None:
        """Parts of the cross-validation that it is of."""
        return self._of_data("folds")

    @property
    def fold(self) -> int | None:
        """Which of them it tests."""
        return self._of_data("fold")

    @property
    def repeat(self) -> int:
        """Tells it from other trainings of the same: its seed, or one for each seed and fold."""
        if self.folds is None or self.fold is None:
            return self.seed
        return self.seed * self.folds + self.fold

    def _of_data(self, key: str) -> int | None:
        data = self.identity.get("data")
        value = data.get(key) if isinstance(data, dict) else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def save(self, folder: Path) -> None:
        """Write `result.json` into the folder, replacing the one there in a single step."""
        write_atomically(RunFolder(folder).result, json_text(asdict(self)).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `result.json` from the folder.

        Raises:
            DataError: if it is missing, half-written, or of another schema.
        """
        path = RunFolder(folder).result
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except RecursionError as error:
            raise DataError(f"{path} is nested too deep to be a result. {WAY_OUT}") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}. {WAY_OUT}") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise DataError(f"{path} is not a result of schema {SCHEMA}.")
        known = {f.name for f in fields(cls)}
        try:
            found = cls(**{key: value for key, value in content.items() if key in known})
        except TypeError as error:
            raise DataError(f"{path} lacks a field of schema {SCHEMA}: {error}") from error
        for name, allowed in KINDS.items():
            value = getattr(found, name)
            if not isinstance(value, allowed) or isinstance(value, bool):
                raise DataError(f"{path}: {name} must not be {short(value)}.")
        return found


def _kinds(hint: Any) -> tuple[type, ...]:  # noqa: ANN401 - a type
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(get_origin(part) or part for part in parts)


# A file that another program wrote, or that was damaged, may hold anything under a name.
KINDS = {name: _kinds(hint) for name, hint in get_type_hints(RunResult).items()}

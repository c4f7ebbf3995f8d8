"""What a multirun's command line asks for: its jobs, checked before the first one starts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ttl_lightning.config import compose as config
from ttl_lightning.config import ranks
from ttl_lightning.config.identity import digest
from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import ConfigError, DataError, UnknownCutoffError, check_choice
from ttl_lightning.jobs.job import Job, spec_of
from ttl_lightning.jobs.precision import Settled
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.strategies import STRATEGIES, Strategy
from ttl_lightning.records.folder import RunFolder, SweepFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.build import network
from ttl_lightning.runs.check import check
from ttl_lightning.runs.fingerprint import Known, left_in, resolved_unit

log = logging.getLogger(__name__)

Overrides = tuple[str, ...]


def combinations(arguments: Sequence[str]) -> list[Overrides]:
    """Every combination of the values that the overrides list, in their order.

    Raises:
        ConfigError: if an override is malformed, or no list of values (`interval(0, 1)`).
    """
    choices: dict[str, list[str]] = {}
    for override in config.parsed(arguments):
        key = override.get_key_element()
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(f"{override.input_line}: a sweep needs values, as in {key}=1,2,3.")
        if override.is_sweep_override():
            values = list(override.sweep_string_iterator())
        else:
            values = [override.get_value_element_as_str()]
        choices[key] = [key if override.is_delete() else f"{key}={value}" for value in values]
    return list(dict.fromkeys(itertools.product(*choices.values())))


REPEATS = ("seed", "data.fold")
"""Keys of which other values repeat a training."""


def without(overrides: Overrides, key: str) -> Overrides:
    """The overrides but the one of a key."""
    return tuple(o for o in overrides if o.partition("=")[0].lstrip("+") != key)


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that differ in cutoff, seed and fold alone.

    Attributes:
        overrides: without those.
        spec: their configuration, without cutoff, with the default seed.
        composed: the same with Hydra's own settings.
        cutoffs: overrides of the cutoff, none if the strategy takes none.
        seeds: overrides of seed and fold, an empty one where it is left as it is.
    """

    overrides: Overrides
    spec: RunSpec
    composed: DictConfig
    cutoffs: tuple[Overrides, ...]
    seeds: tuple[Overrides, ...]

    @property
    def strategy(self) -> Strategy:
        """What the jobs share."""
        return STRATEGIES[self.spec.strategy.name]

    def jobs(self) -> Iterator[Overrides]:
        """The overrides of every job."""
        for cutoff, seed in itertools.product(self.cutoffs or ((),), self.seeds):
            yield self.overrides + cutoff + seed


class Plan:
    """Turns overrides into jobs, each in a folder of its own.

    Args:
        compose: makes the configuration of one job from its overrides, with Hydra's node, as
            Hydra's own `load_sweep_config` does.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig]) -> None:
        self._compose = compose
        self._known: Known = {}
        self._checked: set[str] = set()
        self._claimed: dict[Path, str] = {}
        self._homes: dict[Path, dict[str, Path]] = {}

    def composed(self, overrides: Sequence[str]) -> DictConfig:
        """One job's configuration, with Hydra's node.

        Raises:
            ConfigError: if an override is malformed or names what there is not.
        """
        config.accept_backbones(overrides)
        try:
            return self._compose(list(overrides))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise config.in_one_line(error, overrides) from error

    def groups(self, arguments: Sequence[str]) -> list[Group]:
        """The command line's jobs by what they share.

        Raises:
            ConfigError: as `combinations` and `composed`; or if a cutoff is given in vain.
        """
        found: dict[Overrides, tuple[dict[Overrides, None], dict[Overrides, None]]] = {}
        read_as = self._sourced(combinations(arguments))
        for overrides in combinations(arguments):
            shared = read_as[_shared(overrides)]
            cutoffs, seeds = found.setdefault(shared, ({}, {}))
            cutoffs[_only(overrides, "cutoff")] = None
            seeds[_repeat(overrides)] = None
        composed = {shared: self.composed(shared) for shared in found}
        specs = {shared: spec_of(cfg) for shared, cfg in composed.items()}
        for spec in specs.values():
            check_choice("strategy", spec.strategy.name, STRATEGIES)
        needs = {
            shared: STRATEGIES[spec.strategy.name].needs_cutoff for shared, spec in specs.items()
        }
        # A cutoff beside `strategy=ftl,ttl` is meant for ttl; beside `ftl` alone it is a mistake.
        mixed = any(needs.values())
        groups = []
        for shared, (cutoffs, seeds) in found.items():
            given = [c for c in cutoffs if c and (needs[shared] or not mixed)]
            spec = specs[shared]
            units = units_of(spec, given) if needs[shared] else given
            groups.append(Group(shared, spec, composed[shared], tuple(units), tuple(seeds)))
        return groups

    def _sourced(self, jobs: Iterable[Overrides]) -> dict[Overrides, Overrides]:
        """What jobs share by what they say that they share; see `ranks.sourced`."""
        shared = dict.fromkeys(_shared(job) for job in jobs)
        found = {one: ranks.sourced(one, self.composed) for one in shared}
        for note in dict.fromkeys(one.note for one in found.values() if one.note):
            log.info("note: %s", note)
        return {one: tuple(read.overrides) for one, read in found.items()}

    def settled(self, group: Group, choice: Settled) -> Group:
        """A group with a sweep's precision in the place of `auto`."""
        if group.spec.trainer.precision != "auto":
            return group
        overrides = (*without(group.overrides, "trainer.precision"), *choice.overrides(group.spec))
        composed = self.composed(overrides)
        return replace(group, overrides=overrides, spec=spec_of(composed), composed=composed)

    def jobs(self, many: Iterable[Overrides]) -> list[tuple[Job, Overrides]]:
        """Checked jobs, those that are the same run only once.

        Raises:
            ConfigError: as `job`.
        """
        planned: dict[Path, tuple[Job, Overrides]] = {}
        for overrides in many:
            job, made = self.job(overrides)
            first = planned.setdefault(job.folder, (job, made))
            if first[0] is not job:
                others = " ".join(o for o in made if o not in first[1])
                ours = " ".join(o for o in first[1] if o not in made)
                log.info(
                    "%s is the same run as %s: it is run once", others or made, ours or first[1]
                )
        return list(planned.values())

    def job(self, overrides: Overrides) -> tuple[Job, Overrides]:
        """A checked job, and the overrides that make it.

        Its folder is the one where this very run lies already, whatever it was called; else where
        the configuration says; else, where another run lies there, one beside it.

        Raises:
            ConfigError: if the job could not begin.
        """
        composed = self.composed(overrides)
        config.check_place(composed)
        spec = spec_of(composed)
        self._check(spec)
        unit = _unit(spec)
        if unit is not None and str(spec.cutoff) != unit:
            overrides = (*without(overrides, "cutoff"), f"cutoff={unit}")
            composed = self.composed(overrides)
        job = Job.from_hydra(composed, known=self._known)
        root = job.cwd / composed.hydra.sweep.dir
        home = self._home(job, root)
        if home != job.folder:
            subdir = home.relative_to(root)
            overrides = (*overrides, f"hydra.sweep.subdir={config.quoted(str(subdir))}")
            job = Job.from_hydra(composed, home, self._known)
        self._claimed[home], self._homes[root][job.fingerprint] = job.fingerprint, home
        return job, overrides

    def _home(self, job: Job, root: Path) -> Path:
        if root not in self._homes:
            self._homes[root] = homes(root, self._known)
        if job.fingerprint in self._homes[root]:
            return self._homes[root][job.fingerprint]
        owner = self._claimed.get(job.folder) or self._owner(job.folder)
        if owner in (None, job.fingerprint):
            return job.folder
        return job.folder.with_name(f"{job.folder.name}-{job.fingerprint[:8]}")

    def _owner(self, folder: Path) -> str | None:
        """Fingerprint of the run in a folder; None if there is none that can be read."""
        with suppress(DataError):  # half-written by something else: the run will replace it
            if RunFolder(folder).result.is_file():
                return left_in(folder, RunResult.load(folder), self._known)
        return None

    def _check(self, spec: RunSpec) -> None:
        """Once for all seeds."""
        key = digest({**spec.values, "seed": 0})
        if key not in self._checked:
            check(spec)
            self._checked.add(key)


def units_of(spec: RunSpec, cutoffs: Iterable[Overrides]) -> list[Overrides]:
    """The cutoffs' overrides by the full names of their units, each unit once.

    What names no unit stays as it is; the check of its job says so.
    """
    named: dict[Overrides, Overrides] = {}
    for overrides in cutoffs:
        try:
            (override,) = config.parsed(overrides)
            unit = _unit(replace(spec, cutoff=cast("str | int | None", override.value())))
        except UnknownCutoffError:
            unit = None
        meant = overrides if unit is None else (f"cutoff={unit}",)
        first = named.setdefault(meant, overrides)
        if first != overrides:
            log.info("%s and %s are one unit: it is run once", first[0], overrides[0])
    return list(named)


def homes(root: Path, known: Known) -> dict[str, Path]:
    """The folders of all runs below a sweep's, by fingerprint; of equal ones the completed."""
    found: dict[str, tuple[bool, Path]] = {}
    for run in SweepFolder(root).runs():
        with suppress(DataError):
            result = RunResult.load(run.path)
            completed = result.status == "completed"
            fingerprint = left_in(run.path, result, known)
            if fingerprint and (fingerprint not in found or completed > found[fingerprint][0]):
                found[fingerprint] = completed, run.path
    return {fingerprint: folder for fingerprint, (_, folder) in found.items()}


def cutoffs_of(group: Group) -> dict[str, float]:
    """The cutoffs to search, in network order, and the parameters of each one's model.

    Those that the command line names, or all that the network has.

    Raises:
        UnknownCutoffError: if the command line names one that there is not.
        ConfigError: if the images are too small for one of them.
    """
    recipe, name = group.spec.recipe, group.spec.backbone.name
    with torch.device("meta"):
        backbone = create_backbone(name, None, recipe.data.in_channels)
        given = [override.partition("=")[2] for cutoff in group.cutoffs for override in cutoff]
        named = {backbone.resolve(int(cut) if cut.isdigit() else cut) for cut in given}
        models = {
            cutoff: network(replace(recipe, cutoff=cutoff), num_classes=2, weights=None)
            for cutoff in backbone.cutoffs
            if not named or cutoff in named
        }
    return {
        cutoff: float(sum(p.numel() for p in model.parameters()))
        for cutoff, model in models.items()
    }


def _only(overrides: Overrides, key: str) -> Overrides:
    return tuple(o for o in overrides if o not in without(overrides, key))


def _shared(overrides: Overrides) -> Overrides:
    """What jobs of a group share: all but the cutoff and what repeats them."""
    for key in ("cutoff", *REPEATS):
        overrides = without(overrides, key)
    return overrides


def _repeat(overrides: Overrides) -> Overrides:
    return tuple(one for key in REPEATS for one in _only(overrides, key))


def _unit(spec: RunSpec) -> str | None:
    return resolved_unit(spec.backbone.name, spec.data.in_channels, spec.strategy.name, spec.cutoff)

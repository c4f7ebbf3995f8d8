"""Which numeric precision and memory layout trains a model fastest: measured here, not guessed.

Weights and optimizer state stay in float32 in every setting.

Source: the PyTorch notes on channels-last memory and on automatic mixed precision.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn

from ttl_lightning.runtime.bfloat16 import wrong_in_bfloat16

# What a setting must gain over a plainer one: above the noise, so that repeated runs choose alike.
MARGIN = 1.15
# Times the fastest at which a setting is measured no further.
OUT = 1.5
MIN_ROUNDS, MAX_ROUNDS = 3, 8
# Pixels or voxels that a measured batch has at most: two images of 224 x 224 on one thread, 64 on a
# GPU, which less would leave idle.
MAX_PIXELS = {"cpu": 2 * 224 * 224, "cuda": 64 * 224 * 224}
MIN_SAMPLES = 2  # BatchNorm fails on a single value per channel


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to train: a precision, by Lightning's name for it, and a memory layout."""

    precision: str
    channels_last: bool

    @property
    def name(self) -> str:
        """Such as `bf16-mixed channels_last`."""
        return f"{self.precision} {'channels_last' if self.channels_last else 'contiguous'}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The setting that a run uses.

    Args:
        precision: what Lightning's Trainer gets.
        channels_last: whether the model is to be passed through `to_channels_last`.
        timings_ms: the fastest training step of each setting measured, by the setting's name.
    """

    precision: str
    channels_last: bool
    timings_ms: dict[str, float] = field(default_factory=dict)


# The plainest first: `pick` wants a reason for every step down a list. bfloat16 without
# channels-last is not worth its time on a CPU (up to five times slower), but may be on a GPU.
SETTINGS = {
    "cpu": (
        Setting("32-true", channels_last=False),
        Setting("32-true", channels_last=True),
        Setting("bf16-mixed", channels_last=True),
    ),
    "cuda": (
        Setting("32-true", channels_last=False),
        Setting("32-true", channels_last=True),
        Setting("bf16-mixed", channels_last=False),
        Setting("bf16-mixed", channels_last=True),
    ),
}

Step = Callable[[], float]
Stopwatch = Callable[[Setting, Step], float]


def choose(
    model: nn.Module,
    batch_shape: Sequence[int],
    device: str | torch.device = "cpu",
    *,
    channels_last: bool | None = None,
    budget_s: float = 1.5,
    stopwatch: Stopwatch | None = None,
) -> Choice:
    """Measure a few training steps in every setting, turn by turn, and choose among them.

    Copies are trained: the model, its BatchNorm statistics and the random generators stay as they
    were. With only one setting to choose, as on other devices than CPU and CUDA, none is measured.
    On a CPU bfloat16 is left out where its gradients would be wrong (`wrong_in_bfloat16`).

    Args:
        model: maps a batch of `batch_shape` to logits.
        batch_shape: `(N, C, *spatial)` of a training batch; a large one is measured by a part.
        device: where the model will be trained.
        channels_last: the only memory layout to consider; None considers both.
        budget_s: seconds of measured steps after which no round is begun, once there were three.
        stopwatch: seconds that one step takes in a setting; infinite where its loss is not finite.

    Raises:
        ValueError: if the model has no parameter to train.
    """
    device = torch.device(device)
    settings = _settings(device, channels_last=channels_last)
    if device.type == "cpu" and wrong_in_bfloat16(model, batch_shape[1:]):
        settings = [setting for setting in settings if setting.precision == "32-true"]
    if len(settings) == 1:
        return Choice(settings[0].precision, settings[0].channels_last)
    shape = (_samples(batch_shape, device), *batch_shape[1:])
    with _undisturbed(device):
        bench = _Bench(model, device, torch.rand(shape))
        steps = {setting: bench.step(setting) for setting in settings}
        seconds = _rounds(steps, stopwatch or _stopwatch(device), budget_s)
    best = pick(seconds)
    fastest = {s.name: 1e3 * min(times) for s, times in seconds.items()}
    timings_ms = {name: round(ms, 3) for name, ms in fastest.items() if math.isfinite(ms)}
    return Choice(best.precision, best.channels_last, timings_ms)


def pick(seconds: Mapping[Setting, Sequence[float]]) -> Setting:
    """The plainest setting, unless a later one's best and median steps are faster by `MARGIN`.

    Args:
        seconds: the times of each setting's steps, the plainest first; an infinite one rules a
            setting out.
    """
    settings = iter(seconds)
    best = next(settings)
    for setting in settings:
        old, new = seconds[best], seconds[setting]
        faster = min(old) >= MARGIN * min(new) and median(old) >= MARGIN * median(new)
        if faster and math.isfinite(max(new)):
            best = setting
    return best


def to_channels_last(model: nn.Module) -> None:
    """Re-arrange the convolution weights of a model in place, before it is trained.

    The images may stay as they are: a convolution follows the layout of its weights.
    """
    # Module.to(memory_format=...) fails on a model that has both 4-d and 5-d tensors.
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() in formats:
            tensor.data = tensor.data.contiguous(memory_format=formats[tensor.dim()])


def _settings(device: torch.device, *, channels_last: bool | None) -> list[Setting]:
    plain = Setting("32-true", channels_last=bool(channels_last))
    settings = SETTINGS.get(device.type, (plain,))
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        settings = tuple(s for s in settings if s.precision == "32-true")
    return [s for s in settings if channels_last in (None, s.channels_last)]


def _samples(batch_shape: Sequence[int], device: torch.device) -> int:
    """As many as fit, and on a CPU no more than a thread's share, since one thread is measured."""
    fitting = MAX_PIXELS[device.type] // math.prod(batch_shape[2:])
    share = batch_shape[0] // (torch.get_num_threads() if device.type == "cpu" else 1)
    return max(MIN_SAMPLES, min(share, fitting))


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Neither disturb the random generators nor be disturbed by other programs.

    Threads wait for one another, so that on a shared machine a step can take ten times its time.
    """
    threads = torch.get_num_threads()
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.enable_grad():
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _rounds(
    steps: Mapping[Setting, Step], stopwatch: Stopwatch, budget_s: float
) -> dict[Setting, list[float]]:
    """Time the steps turn by turn, so that a slow spell of the machine hits all of them."""
    seconds: dict[Setting, list[float]] = {setting: [] for setting in steps}
    alive, spent = list(steps), 0.0
    for n in range(1, MAX_ROUNDS + 1):
        for setting in alive:
            elapsed = stopwatch(setting, steps[setting])
            seconds[setting].append(elapsed)
            spent += elapsed
        if n > 1:  # the first step of a setting also builds and loads its kernels
            limit = OUT * min(min(times) for times in seconds.values())
            alive = [setting for setting in alive if min(seconds[setting]) <= limit]
        if n >= MIN_ROUNDS and (spent >= budget_s or len(alive) == 1):
            break
    return seconds


def _stopwatch(device: torch.device) -> Stopwatch:
    """Of a CPU the time spent computing, of a GPU the time until its queue is empty."""

    def stopwatch(_setting: Setting, step: Step) -> float:
        on_gpu = device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        start = clock()
        loss = step()
        if on_gpu:
            torch.cuda.synchronize(device)
        return clock() - start if math.isfinite(loss) else math.inf

    return stopwatch


class _Bench:
    """Copies of a model, one a memory layout, and the training steps of each setting on them."""

    def __init__(self, model: nn.Module, device: torch.device, images: Tensor) -> None:
        self.device, self.images = device, images.to(device)
        self.models: dict[bool, nn.Module] = {}
        self.optimizers: dict[bool, torch.optim.Optimizer] = {}
        for channels_last in (False, True):
            trained = copy.deepcopy(model).to(device).train()
            if channels_last:
                to_channels_last(trained)
            weights = [p for p in trained.parameters() if p.requires_grad]
            self.models[channels_last] = trained
            # A rate of zero: the same work, and no drift to values that are slow to compute with.
            self.optimizers[channels_last] = torch.optim.Adam(weights, lr=0.0)

    def step(self, setting: Setting) -> Step:
        """A function that runs forward, backward and Adam once, and returns the loss."""
        model = self.models[setting.channels_last]
        optimizer = self.optimizers[setting.channels_last]
        mixed = setting.precision == "bf16-mixed"

        def run() -> float:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed):
                logits: Tensor = model(self.images)
            optimizer.zero_grad()
            loss = logits.float().square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return loss.item()

        return run

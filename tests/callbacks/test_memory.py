import gc
import sys

import pytest
import torch

from ttl_lightning.callbacks.memory import peak_memory_mb, reset_peak_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_the_peak_is_of_the_stretch_since_the_reset() -> None:
    gc.collect()  # or what earlier tests left behind is freed within the stretch
    cpu = torch.device("cpu")
    large = torch.ones(50_000_000)  # 200 MB
    before = peak_memory_mb(cpu)
    del large
    reset_peak_memory(cpu)
    after = peak_memory_mb(cpu)
    assert after < before - 150
    kept = torch.ones(25_000_000)
    assert 80 < peak_memory_mb(cpu) - after < 150
    del kept

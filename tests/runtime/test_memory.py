import subprocess
import sys

import pytest

# In a process of its own: memory that earlier tests freed would serve for what is allocated here.
CODE = """
import torch
from ttl_lightning.runtime.memory import peak_memory_mb, reset_peak_memory

cpu = torch.device("cpu")
large = torch.ones(50_000_000)  # 200 MB
before = peak_memory_mb(cpu)
del large
reset_peak_memory(cpu)
after = peak_memory_mb(cpu)
kept = torch.ones(25_000_000)
print(before, after, peak_memory_mb(cpu))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_the_peak_is_of_the_stretch_since_the_reset() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after, with_more = map(float, done.stdout.split())
    assert after < before - 150
    assert 80 < with_more - after < 150

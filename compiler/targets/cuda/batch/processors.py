"""GPUs as their maker states them.

Sources: NVIDIA H200 data sheet (memory); "NVIDIA H100 Tensor Core GPU Architecture" (the rest, and
the size of the second-level cache); its bytes a clock are an A100's: unverified.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.compiler import targets


@dataclass(frozen=True)
class Processor:
    """A GPU.  clock_hz is the highest."""

    name: str
    multiprocessors: int
    schedulers: int  # of a multiprocessor: a warp-instruction a clock each
    clock_hz: float
    memory_bytes_per_second: float
    cache_bytes: int
    cache_bytes_per_clock: int

    @property
    def issues_per_second(self) -> float:
        return self.multiprocessors * self.schedulers * self.clock_hz

    @property
    def cache_bytes_per_second(self) -> float:
        return self.cache_bytes_per_clock * self.clock_hz


H200 = Processor("H200", 132, 4, float(targets.H200), 4.8e12, 50 << 20, 5120)

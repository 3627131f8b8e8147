"""Image: a complete program for one machine, with everything that is known about it.

A target makes it; run.py runs it; save() writes the container and, beside it, the map, the labels
and the listing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anachron.compiler.fixed import FixedModel
from anachron.compiler.memory import Placed
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import Machine, Options
from anachron.kernels.arithmetic import Array

if TYPE_CHECKING:
    from anachron.compiler.run import Run
    from anachron.compiler.timing import Cycles


@dataclass(frozen=True)
class Location:
    """Where a row of numbers lies.

    layout "bytes": int8, one a byte; "words": int16, little-endian pairs; "split": int16, all low
    bytes at `address`, all high bytes at `high`.
    columns, strides: of a matrix whose elements do not follow each other, row by row, how many
    there are in a row, and the bytes from a row to the next and from a column to the next.
    """

    address: int
    size: int
    layout: str
    high: int = 0
    columns: int = 0
    strides: tuple[int, int] = (0, 1)

    def offsets(self) -> Array:
        """How far each number of a split array lies behind the first."""
        number = np.arange(self.size)
        row, column = np.divmod(number, self.columns) if self.columns else (0 * number, number)
        return row * self.strides[0] + column * self.strides[1]

    def decode(self, memory: Array) -> Array:
        """The integers, read from a machine's memory (bytes)."""
        low = np.array(memory[self.address : self.address + self.size], np.uint8)
        match self.layout:
            case "bytes":
                return low.view(np.int8).astype(np.int64)
            case "words":
                raw = np.array(memory[self.address : self.address + 2 * self.size], np.uint8)
                return raw.view("<i2").astype(np.int64)
            case "split":
                at = self.offsets()
                low, high = (np.array(memory[start + at]) for start in (self.address, self.high))
                return (low + (high.astype(np.uint16) << 8)).view(np.int16).astype(np.int64)
        raise ValueError(f"no layout is called {self.layout}")


@dataclass(frozen=True)
class Call:
    """One line of the schedule: the kernel variant chosen for an op, and why."""

    op: str
    kernel: str
    variant: str
    why: str
    size: int = 0  # bytes of code and data of its own


@dataclass(frozen=True)
class Way:
    """Another way to build the same program, that was left aside.

    times       op -> its time in the longest pass, where memory holds it
    bytes_over  too many for the memory, else 0
    """

    calls: tuple[Call, ...]
    times: Mapping[str, Cycles]
    bytes_over: int = 0


@dataclass(frozen=True, kw_only=True)
class Loadable:
    """A program in memory and in its container, whatever it is for.

    symbols    label -> address
    regions    (address, end) of the memory that it may use
    container  the file's bytes by suffix, the usual one first: {".prg": ..., ".d64": ...}
    expansion  what lies outside of memory: in a RAM Expansion Unit, whose contents are
               container[".reu"], or in a cartridge's banks, at bank * 65536 + address
    """

    machine: Machine
    options: Options
    source: str
    program: Any  # the assembler's Program
    symbols: Mapping[str, int]
    objects: tuple[Placed, ...]
    regions: tuple[tuple[int, int], ...]
    container: Mapping[str, bytes]
    entry: int
    expansion: tuple[Placed, ...] = ()

    @property
    def name(self) -> str:
        """The model's."""
        raise NotImplementedError

    @property
    def outside(self) -> str:
        """What `expansion` lies in."""
        return "cartridge" if self.machine.cartridge else "expansion"

    @property
    def size_bytes(self) -> int:
        """Bytes loaded."""
        expanded = sum(o.size for o in self.expansion if o.kind != "cache")
        return sum(len(data) for _, data in self.program.segments) + expanded

    @property
    def memory_map(self) -> tuple[Placed, ...]:
        """Everything in memory, by address."""
        return tuple(sorted(self.objects, key=lambda o: (o.address, o.size)))

    def show(self) -> None:
        """Print what is in memory, and the cycles of a pass where they are known beforehand."""
        from anachron.compiler.pages import show

        show(self)

    def address(self, address: int) -> str:
        """An address as the machine's people write it."""
        return f"{address:06o}" if self.machine.target == "pdp11" else f"${address:04X}"

    def save(self, path: str | Path) -> list[Path]:
        """Write the container chosen by the suffix, and .map, .lbl, .lst beside it."""
        from anachron.compiler.report import write_image

        return write_image(self, Path(path))


@dataclass(frozen=True, kw_only=True, repr=False)
class Image(Loadable):
    """A program that answers prompts.

    locations  of values that a test may read after forward_done
    predict    (position, wants_logits) -> {kernel: Cycles}; an encoder ignores both
    others     builds it in ways that were left aside, some seconds each
    """

    fixed: FixedModel
    locations: Mapping[str, Location]
    calls: tuple[Call, ...]
    predict: Callable[[int, bool], dict[str, Cycles]]
    others: Callable[[], Iterator[Way]] = field(default=lambda: iter(()), compare=False)

    @property
    def name(self) -> str:
        """The model's."""
        return self.fixed.name

    @property
    def cycles(self) -> dict[str, Cycles]:
        """Kernel -> the predicted time of the longest pass: the last position, with logits."""
        return self.predict(*self._longest)

    @property
    def times(self) -> Mapping[str, Cycles]:
        """Op -> the predicted time of its routines in that pass, with all that they call."""
        by_op = getattr(self.predict, "by_op", None)
        return by_op(*self._longest) if by_op else {}

    @property
    def _longest(self) -> tuple[int, bool]:
        return max(0, self.fixed.seq_len - 2), True

    @property
    def token_bytes(self) -> int:
        """Bytes of a token id, a position or a count in the program's variables."""
        small = max(self.fixed.vocab_size, self.fixed.seq_len) <= 256
        return 1 if small and self.machine.target == "mos6502" else 2

    def __repr__(self) -> str:
        return (
            f"Image({self.name} for {self.machine.title}: {self.size_bytes:,} bytes, "
            f"entry {self.address(self.entry)})"
        )

    def run(self, prompt: str, n: int | None = None, **options: Any) -> Run:
        """Run on the emulated machine; options are Sampling's, or else what was built in holds."""
        from anachron.compiler.run import run_image

        return run_image(self, prompt, n, Sampling(**options) if options else None)

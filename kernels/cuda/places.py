"""Where numbers lie in a GPU's memory, and the text that reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array, Fixed

WARP = 32
LINE = 16  # bytes that one load can take: rows start at multiples


@dataclass(frozen=True)
class Place:
    """Rows of numbers of 8, 16 or 32 bits; a place with one row has the same for all positions."""

    memory: str  # sm or gm
    offset: int | str  # bytes; a text where they are not known yet
    bits: int
    size: int  # numbers in a row
    rows: int = 1
    signed: bool = True

    @property
    def row_bytes(self) -> int:
        return -(-self.size * self.bits // 8 // LINE) * LINE

    @property
    def n_bytes(self) -> int:
        return self.rows * self.row_bytes

    def address(self, element: str = "", row: str = "p") -> str:
        """The text of a byte offset."""
        terms = [str(self.offset)]
        if self.rows > 1:
            terms.append(f"{self.row_bytes} * {row}")
        if element:
            terms.append(f"{self.bits // 8} * ({element})" if self.bits > 8 else f"({element})")
        return " + ".join(terms)

    def load(self, element: str, row: str = "p") -> str:
        """The text of one number, in 32 bits."""
        kind = f"{self.bits}" if self.signed else f"u{self.bits}"
        return f"load{kind}({self.memory}, {self.address(element, row)})"

    def load_line(self, number: str, row: str = "p") -> str:
        """The text of 16 bytes of a row: four words."""
        return f"load128({self.memory}, {self.address('', row)} + {LINE} * {number})"

    def store(self, element: str, value: str, row: str = "p") -> str:
        """The text that writes one number."""
        return f"store{self.bits}({self.memory}, {self.address(element, row)}, {value})"


def pack_rows(rows: Array, bits: int) -> bytes:
    """The bytes of a Place that holds these rows, each filled up with zeros."""
    rows = np.atleast_2d(rows)
    raw = np.ascontiguousarray(rows.astype(f"<i{bits // 8}" if bits > 8 else "i1"))
    raw = raw.view(np.uint8).reshape(len(rows), -1)
    padding = -raw.shape[1] % LINE
    return np.pad(raw, ((0, 0), (0, padding))).tobytes()


def pack_bytes(table: Array) -> bytes:
    """The bytes of a Place of one row of uint8."""
    return pack_rows(table.astype(np.uint8).view(np.int8), 8)


def saturated(value: str, bits: int, wide: bool = False) -> str:
    """The text of a value clipped to a signed integer of so many bits."""
    form = Fixed(bits, 0)
    return f"clamp{64 if wide else 32}({value}, {form.lo}, {form.hi})"


def indent(lines: list[str], by: int = 1) -> list[str]:
    return ["    " * by + line for line in lines]


def each(count: int, threads: int, body: list[str]) -> list[str]:
    """body for i in 0 .. count-1, thread by thread."""
    if count <= threads:
        return [f"if tid < {count}:", "    i = tid", *indent(body)]
    return [f"for i in range(tid, {count}, {threads}):", *indent(body)]


def each_element(size: int, positions: int, threads: int, body: list[str]) -> list[str]:
    """body for every feature f of every position p; a decoder has one position at a time."""
    if positions == 1:
        return each(size, threads, ["f = i", *body])
    split = [f"p = udiv32(i, {size})", f"f = urem32(i, {size})"]
    return each(size * positions, threads, split + body)


def each_lane(size: int, body: list[str], first: int = 0) -> list[str]:
    """body for f in first .. size-1, spread over the lanes of a warp."""
    lines: list[str] = []
    for start in range(first, size, WARP):
        lines.append(f"f = lane + {start}" if start else "f = lane")
        whole = start + WARP <= size
        lines += body if whole else [f"if f < {size}:", *indent(body)]
    return lines

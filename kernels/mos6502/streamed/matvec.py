"""matvec in residues, rows from the expansion: 25 cycles a product, three chains -> assembly text.

    one row:   its weights, a constant for each modulus and its result's place come by DMA,
               mostly into the zero page, then for each modulus
                   A = row's constant - vector's constant - what the chains before have told
                   for each column   LDY weight   ADC t+x,Y

residue/moduli.py says why.  A weight in the zero page takes 3 cycles where one in memory takes 4,
which pays for the byte's transfer after one chain.  Rows stop after two, three or four chains, as
many as their sums need: rows that stop and end alike lie together, a run.

What bounds it: 7 cycles a product and modulus, 2 for the CLC of modulus 256, 1 for the transfer,
half a cycle a chain where w + x leaves a page; 60 to 200 a row.

Exact where every sum of a run lies in the range of its chains (reach).

    <name>_prepare   takes the vector at source_low, source_high: vector.py
    <name>_run       does a run of rows, by the descriptor that A and Y point at
    <name>_end_...   what a row ends with: ends.py
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue.moduli import NARROW, WIDE, Basis, row_constants
from anachron.kernels.mos6502.streamed.chains import chain, start
from anachron.kernels.mos6502.streamed.ends import End, end

CROSSING = (0.5, 0.5, 0.27, 0.27)  # of a chain's reads t+x,Y, of weights and x that are anything
MOST_UNROLLED = 96  # columns of a vector that is taken without loops
STARTS = 5  # numbers below the fourth modulus, or equal to it, that its chain starts with
COUNT = "factor_a"  # rows left; what a row's chains use of the zero page lies below the record


@dataclass(frozen=True)
class Kernel:
    """What the code is made for.

    bits     of x          chains  at most, 2 to 4          small  the fourth modulus
    origin   (columns,)    what is taken off the weights
    record   label of the memory where a row's record comes to
    ends     of its rows, each once
    crossing how often a read of a table leaves its page, chain by chain
    """

    name: str
    columns: int
    bits: int
    chains: int
    small: int
    origin: tuple[int, ...]
    record: str
    ends: tuple[End, ...]
    crossing: tuple[float, ...] = CROSSING

    @property
    def moduli(self) -> tuple[int, ...]:
        return (*residues.MODULI, self.small)[: self.chains]

    @property
    def record_bytes(self) -> int:
        return self.columns + self.chains + 1

    @property
    def exits(self) -> tuple[int, ...]:
        """After how many chains some row stops, most last."""
        return tuple(sorted({e.chains for e in self.ends}))

    @property
    def looped(self) -> bool:
        """The vector is taken by loops: slower, but much shorter."""
        return self.columns > MOST_UNROLLED

    def taken(self, m: int) -> str:
        """Where loops leave the vector's residues."""
        return f"{self.name}_taken+{self.columns * self.moduli.index(m)}"

    def table(self, m: int) -> str:
        """The label of t reduced by a modulus."""
        return table(m) if m == self.small else f"t{m}"

    def constant(self, number: int) -> str:
        return f"{self.record}+{self.columns + number}"

    @property
    def place(self) -> str:
        """Of the row's result."""
        return f"{self.record}+{self.columns + self.chains}"

    def end_label(self, e: End) -> str:
        return f"{self.name}_end_{e.name}"

    def exit_label(self, chains: int) -> str:
        """The jump after so many chains; a variable of timing claims, too."""
        return f"{self.name}_exit_{chains}"


def reach(chains: int, small: int) -> tuple[int, int]:
    """The sums, least and most, that so many chains tell apart."""
    if chains == 4:
        return -residues.reach(small), residues.reach(small)
    basis = (NARROW, WIDE)[chains - 2]
    return basis.lowest, basis.highest


def records(kernel: Kernel, weight: Array, bias: Array, place: Array) -> list[bytes]:
    """Rows as the expansion holds them.

    weight (rows, columns) int8, bias (rows,) int32, place (rows,) of the results, 0 .. 255
    """
    basis = Basis("", kernel.moduli, 0, 0)
    origin = np.array(kernel.origin)
    constants = row_constants(weight, bias, origin, basis, kernel.bits)
    parts = [weight.astype(np.int64) - origin]
    parts += [constants[m][:, None] for m in kernel.moduli]
    rows = np.hstack([*parts, place[:, None]]).astype(np.uint8)
    return [row.tobytes() for row in rows]


def table(small: int) -> str:
    """The label of t reduced by the fourth modulus, of all sums of two bytes."""
    return f"long_t{small}"


def make_table(small: int) -> bytes:
    return (residues.triangle(np.arange(512)) % small).astype(np.uint8).tobytes()


def rows(kernel: Kernel) -> str:
    """`<name>_run`, and the ends of its rows."""
    name, small = kernel.name, kernel.small
    text = [_run(kernel), f"{name}_rows:"]
    text.append(expansion.again(expansion.FETCH, kernel.record, kernel.record_bytes))
    for number, m in enumerate(kernel.moduli):
        if number >= 2:
            text.append(_exit(kernel, number))
        text.append(_start(kernel, number, m))
        most = STARTS * small  # of the fourth chain's start
        p = kernel.crossing[number]
        terms = [
            (
                f"    ldy {kernel.record}+{c}",
                f"{name}_t{m}_{c}:\n    adc {kernel.table(m)},y        ;@ p={p:.3f}",
            )
            for c in range(kernel.columns)
        ]
        text.append(chain(m, small, terms, most)[0])
    text.append(_exit(kernel, len(kernel.moduli)))
    text += [end(e, kernel.end_label(e), small, name) for e in kernel.ends]
    for bits in sorted({e.bits for e in kernel.ends}):
        high = f"{name}_high:\n    sta $ffff,x\n    tya\n" if bits == 16 else ""
        again = f"    dec {COUNT}\n    beq _done           ;@ times rows\n    jmp {name}_rows"
        low = f"{name}_low:\n" if bits == 16 else f"{name}_byte:\n"
        text.append(
            f"{name}_store_{bits}:\n    ldx {kernel.place}\n{high}{low}    sta $ffff,x\n{again}\n"
            "_done:\n    rts"
        )
    return lines(*text)


def _start(kernel: Kernel, number: int, m: int) -> str:
    """A chain's start: what it has from the row, the vector and the chains before."""
    constant, own = kernel.constant(number), f"{kernel.name}_s{m}"
    if number == 0:
        return f"    lda {constant}\n    clc\n{own}:\n    adc #0"
    return start(m, constant, own)


def _exit(kernel: Kernel, chains: int) -> str:
    """Where a row stops after so many chains, or goes on."""
    if chains not in kernel.exits:
        return ""
    label = kernel.exit_label(chains)
    onward = f"\n{label}_on:" if chains < kernel.chains else ""
    first = next(e for e in kernel.ends if e.chains == chains)
    return f"{label}:\n    jmp {kernel.end_label(first)}  ;@ goes {{{label}}}{onward}"


def _run(kernel: Kernel) -> str:
    """Take a descriptor: rows, their place in the expansion, the results', where to jump."""
    name = kernel.name
    targets = [f"{COUNT}", *(f"${expansion.AT + i:04x}" for i in range(3))]
    bits = {e.bits for e in kernel.ends}
    for label, there in (("low", 16), ("high", 16), ("byte", 8)):
        if there in bits:
            targets += [f"{name}_{label}+1", f"{name}_{label}+2"]
    for chains in kernel.exits:
        targets += [f"{kernel.exit_label(chains)}+1", f"{kernel.exit_label(chains)}+2"]
    text = [
        f"; {name}_run: rows by the descriptor at A, Y: the results to their places",
        f"; uses A, X, Y, pointer, total, term, {COUNT}; decimal for a while",
        f"{name}_run:\n    sta pointer\n    sty pointer+1",
        expansion.set_up(kernel.record, kernel.record_bytes),
        "    ldy #0",
    ]
    for i, target in enumerate(targets):
        text.append("    iny" if i else "")
        text.append(f"    lda (pointer),y     ;@ p=0.04\n    sta {target}")
    return lines(*text)


def run(
    kernel: Kernel, label: str, e: End, n_rows: int, address: int, out: Vector, prepare: str
) -> str:
    """The routine `label`: a run of rows, 1 to 256; prepare: what comes before."""
    bits = {other.bits for other in kernel.ends}
    words: list[str] = []
    if 16 in bits:
        words += [out.low, out.high] if e.bits == 16 else ["0", "0"]
    if 8 in bits:
        words += [out.low if e.bits == 8 else "0"]
    words += jumps(kernel, e).values()
    place = ", ".join(str(address >> 8 * i & 0xFF) for i in range(3))
    return lines(
        f"{label}:",
        prepare,
        f"    lda #<{label}_rows\n    ldy #>{label}_rows\n    jmp {kernel.name}_run",
        f"{label}_rows:\n    .byte {n_rows & 255}, {place}\n    .word {', '.join(words)}",
    )


def jumps(kernel: Kernel, e: End) -> dict[str, str]:
    """Exit -> where rows with an end go from there."""
    found = {}
    for chains in kernel.exits:
        label = kernel.exit_label(chains)
        if chains < e.chains:
            found[label] = f"{label}_on"
        else:
            ending = e if chains == e.chains else next(o for o in kernel.ends if o.chains == chains)
            found[label] = kernel.end_label(ending)
    return found


def tables(small: int) -> dict[str, bytes]:
    """The fourth modulus' tables that rows use."""
    made = residues.make_small_tables(small)
    return {name: t for name, t in made.items() if name != f"t{small}"} | {
        table(small): make_table(small)
    }


def choose_origin(weights: Iterable[Array]) -> tuple[int, ...]:
    """As residues.choose_origin, of several matrices."""
    return tuple(int(o) for o in residues.choose_origin(np.concatenate(list(weights))))

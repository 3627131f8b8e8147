"""Sums of products of codes, without a multiplication and without a carry.

    ldx row             ; a factor of this term, the same for every column
    clc
    adc products,x      ;@ patched: the other factor is in the address
    ...

A kernel has a place for a factor, a slot, of each term and column.  A column's sum is found twice:
modulo 256, where the carry is cleared before each addition, and modulo 255, where the carry of one
addition goes into the next.  The second chain begins with the first one's complement and so ends
with what is left for the high byte, modulo 255.  It runs backwards: the last factor of a chain is
the first of the next one, and still in X.

Cycles: 17 a term, 20 a column, and what indexed reads take across pages.

To add a kernel: a Products, patch_... for its slots, its routine called in a loop.
Source: the residues are those of kernels/mos6502/residue/moduli.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import add_to_word, lines, set_word
from anachron.kernels.mos6502.training.codes import LIMIT

JMP, LDA = 0x4C, 0xBD  # opcodes: to an absolute address, from one and X
REACH = 255  # of an index register
CROSSING = 0.35  # of the reads of a product, measured

Source = Callable[[int, int], str]  # (term, column) -> the operand of a factor's byte


@dataclass(frozen=True)
class Products:
    """low+c, rest+c = the sums over the terms of a column's factors times those in row.

    name   of its routine
    most   the largest half of a product
    """

    name: str
    terms: int
    columns: int
    most: int

    @property
    def chunk(self) -> int:
        """Terms of a sum that the residues tell apart."""
        return max(1, min(self.terms, LIMIT // max(1, self.most)))

    @property
    def whole(self) -> bool:
        """Whether `rest` is the high byte itself: where chunks were added, it must be."""
        return self.chunk < self.terms

    @property
    def edges(self) -> bool:
        """Whether two high bytes, 127 and -128, may have one residue."""
        return self.chunk * self.most > LIMIT - 127

    @property
    def size(self) -> int:
        """Bytes of a column."""
        return self._column(0)[1]

    def slots(self) -> list[tuple[int, int]]:
        """Of each term, how far its two slots lie behind the column's beginning."""
        return self._column(0)[2]

    def routine(self) -> str:
        """The kernel; X ends with the first factor of the row."""
        columns = [self._column(c)[0] for c in range(self.columns)]
        return lines(
            f"; {self.name}: low, rest = {self.columns} sums of {self.terms} products of row;"
            " uses A, X",
            f"{self.name}:",
            "    ldx row",
            *columns,
            f"{self.name}_{self.columns}:",
            "    rts",
        )

    def _column(self, column: int) -> tuple[str, int, list[tuple[int, int]]]:
        text, at = [f"{self.name}_{column}:"], 0
        first: dict[int, int] = {}
        second: dict[int, int] = {}

        def put(instruction: str, size: int) -> None:
            nonlocal at
            text.append(f"    {instruction}")
            at += size

        def look(operation: str, table: str, places: dict[int, int], term: int) -> None:
            places[term] = at + 1
            opcode = "" if at else f", takes 4..5 ~{4 + CROSSING}"
            put(f"{operation} {table},x ;@ patched, p={CROSSING}{opcode}", 3)

        for start in range(0, self.terms, self.chunk):
            terms = range(start, min(start + self.chunk, self.terms))
            low = f"low+{column}" if start == 0 else "part"
            for term in terms:
                if term:
                    put(f"ldx row+{term}", 2)
                if term > start:
                    put("clc", 1)
                look("adc" if term > start else "lda", "products_256", first, term)
            put(f"sta {low}", 2)
            put("eor #$ff", 2)
            put("clc", 1)
            for term in reversed(terms):
                if term < terms[-1]:
                    put(f"ldx row+{term}", 2)
                look("adc", "products_255", second, term)
            put("adc #0", 2)
            if self.whole:
                high = high_byte(self.edges, low)
                text.append(high)
                at += 10 if self.edges else 4
                if start == 0:
                    put(f"sta rest+{column}", 2)
                else:
                    put("sta part+1", 2)
                    for instruction in ("clc", "lda part", f"adc low+{column}",
                                        f"sta low+{column}", "lda part+1", f"adc rest+{column}",
                                        f"sta rest+{column}"):  # fmt: skip
                        put(instruction, 1 if instruction == "clc" else 2)
            else:
                put(f"sta rest+{column}", 2)
        if self.whole:
            put("ldx row", 2)
        return "\n".join(text), at, [(first[t], second[t]) for t in range(self.terms)]

    def mute(self) -> str:
        """Columns of positions without a gradient are left out, and their sums are 0, up to
        unmute_...: a jump to the next one stands where they begin.  Slots must be written before.
        """
        columns = "\n".join(
            f"""\
    lda active+{c}
    bne mute_{self.name}_{c} ;@ p=1
    sta low+{c}
    sta rest+{c}
    lda #${JMP:02x}
    sta {self.name}_{c}
    lda #<{self.name}_{c + 1}
    sta {self.name}_{c}+1
    lda #>{self.name}_{c + 1}
    sta {self.name}_{c}+2
mute_{self.name}_{c}:"""
            for c in range(self.columns)
        )
        again = "\n".join(f"    sta {self.name}_{c}" for c in range(self.columns))
        return f"""\
; mute_{self.name}, unmute_{self.name}: without the columns that are not active;  uses A
mute_{self.name}:
{columns}
    rts
unmute_{self.name}:
    lda #${LDA:02x}
{again}
    rts"""

    def high(self, column: int) -> str:
        """A = the high byte of a sum; uses X."""
        load = f"    lda rest+{column}"
        return load if self.whole else lines(load, high_byte(self.edges, f"low+{column}"))

    def code(self, label: str, column: int) -> str:
        """A = the byte of a sum; uses X."""
        pages = "pages_of_highs" if self.whole else "pages_of_rests"
        return f"""\
    ldx rest+{column}
    lda {pages},x       ;@ aligned
    sta {label}_{column}+2
    ldx low+{column}
{label}_{column}:
    lda codes,x         ;@ patched, aligned"""

    def double(self, column: int) -> str:
        """low+column, A = twice a sum, which is a linear integer again; uses X."""
        return lines(self.high(column), f"    asl low+{column}\n    rol")

    def patch_all(self, name: str, tables: str, pages: int, source: Source) -> str:
        """A routine that writes all slots from bytes; tables names their addresses'; uses A, X."""
        text = [f"; {name}: the slots of {self.name};  uses A, X", f"{name}:", "    clc"]
        for column in range(self.columns):
            for term, (first, second) in enumerate(self.slots()):
                at = f"{self.name}_{column}"
                text.append(
                    f"""\
    ldx {source(term, column)}
    lda {tables}_low,x  ;@ aligned
    sta {at}+{first}
    sta {at}+{second}
    lda {tables}_high,x ;@ aligned
    sta {at}+{first + 1}
    adc #{pages}
    sta {at}+{second + 1}"""
                )
        return lines(*text, "    rts")

    def patch_each(
        self, name: str, tables: str, pages: int, load: Callable[[int], str], step: int, begin: str
    ) -> str:
        """The same, column by column, in a sixth of the bytes and twice the time.

        load   term -> what loads its byte: `follow` or `index` of a term
        step   from a column to the next, of `source`, which `follow` reads
        begin  what makes source; position, which `index` reads, counts the columns from 0
        """
        return lines(
            f"; {name}: the slots of {self.name};  uses A, X, Y, source, slot, position",
            f"{name}:",
            begin,
            set_word("slot", f"{self.name}_0"),
            "    lda #0\n    sta position",
            f"{name}_next:",
            self.patch_column(tables, pages, load),
            add_to_word("source", str(step)) if step else "",
            f"""\
    inc position
    lda position
    cmp #{self.columns}
    beq {name}_end      ;@ times {self.columns}
    jmp {name}_next
{name}_end:
    rts""",
        )

    def patch_column(self, tables: str, pages: int, load: Callable[[int], str]) -> str:
        """The slots of the column at `slot`, which comes to lie at the next; uses A, X, Y."""
        text = ["    clc"]
        slots, base = self.slots(), 0
        for term, (first, second) in enumerate(slots):
            if max(first, second) + 1 - base > REACH:
                ahead = min(min(pair) for pair in slots[term:]) - base
                text.append(add_to_word("slot", str(ahead)))
                base += ahead
            first, second = first - base, second - base
            text.append(
                f"""\
{load(term)}
    tax
    lda {tables}_low,x  ;@ aligned
    ldy #{second}
    sta (slot),y
    ldy #{first}
    sta (slot),y
    iny
    lda {tables}_high,x ;@ aligned
    sta (slot),y
    adc #{pages}
    ldy #{second + 1}
    sta (slot),y"""
            )
        return lines(*text, add_to_word("slot", str(self.size - base)))


def follow(step: int) -> Callable[[int], str]:
    """Terms' bytes lie behind `source`, so many bytes apart."""
    return lambda term: f"    ldy #{step * term}\n    lda (source),y      ;@ index 0..{step * term}"


def index(source: Callable[[int], str]) -> Callable[[int], str]:
    """A term's bytes lie at an address, a column after the other."""
    return lambda term: f"    ldy position\n    lda {source(term)},y"


def high_byte(edges: bool, low: str) -> str:
    """A = the high byte of a sum, from its residue; with edges, X is used."""
    if not edges:
        return "    cmp #$80\n    adc #0"
    return f"""\
    cmp #$7f
    bne *+6             ;@ p=0.99
    ldx {low}
    cpx #$80
    adc #0"""

"""Sums of products of codes, without a multiplication: an ADD a product.

    MOV (R1)+,R0        ; a code, half of an address
    ADD 4711(R0),R2     ; the other code, written into the instruction, is the other half:
    ADD 4722(R0),R3     ; the word there is the product
    ...

The factors that the program writes into its own instructions are called slots.  A kernel has one a
term and a column; columns share R2 to R5, up to four at a time, and the whole stream is read again
for the next ones.

To add a kernel: a Products, patch() for its slots, and group() for each of its groups in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anachron.kernels.pdp11.instructions import Cpu, loop_back
from anachron.kernels.reference.log_tables import octaves

SOB_REACH = 63  # words, its own among them
MOST_COLUMNS = 4  # at a time: R2 to R5
NEXT = "(R1)+"
USUAL = octaves(-12)  # what two halves of an address add to each product
WRAP = "160001"  # bits to clear of a number that looks up a code

Load = Callable[[int], str]  # term -> the operand that its code is read from


@dataclass(frozen=True)
class Products:
    """The shape of a kernel.

    indexed   codes are read from X(R1), not from (R1)+
    """

    name: str
    terms: int
    columns: int
    indexed: bool = False

    @property
    def each(self) -> int:
        """Columns of a group: as many as divide all of them."""
        return max(c for c in range(1, MOST_COLUMNS + 1) if self.columns % c == 0)

    @property
    def groups(self) -> int:
        return self.columns // self.each

    @property
    def registers(self) -> range:
        return range(2, 2 + self.each)

    @property
    def stride(self) -> int:
        """Bytes from a term's slots to the next term's."""
        return self.first - 2 + 4 * self.each

    @property
    def first(self) -> int:
        """Bytes from a group's label to its first slot."""
        return 6 if self.indexed else 4

    def slot(self, column: int) -> str:
        """The address of a column's slot in the first term."""
        group, place = divmod(column, self.each)
        return f"{self.name}.{group}+{self.first + 4 * place}."

    def offset(self, column: int) -> str:
        """Bytes from the first column's slot to another's."""
        group, place = divmod(column, self.each)
        return f"{self.name}.{group}-{self.name}.0+{4 * place}." if group else f"{4 * place}."

    def group(self, number: int, load: Load, *, preloaded: bool = False) -> str:
        """One group: R2 ... = sums over the terms; added to what they hold where preloaded."""
        lines = [f"{self.name}.{number}:"]
        for term in range(self.terms):
            lines.append(f"MOV {load(term)},R0")
            operation = "ADD" if term or preloaded else "MOV"
            lines += [f"{operation} 0(R0),R{register} ;@ patched" for register in self.registers]
        return "\n".join(lines)

    def patch(self, cpu: Cpu, source: str, skip: int = 0, constant: int = USUAL) -> str:
        """Write the slots from a matrix, a row a term; skip bytes lie between its rows.

        constant   the code that is to be added to each product
        Uses R0 to R3.
        """
        copies = [copy_code(at(self.offset(k), "R2"), constant) for k in range(self.columns)]
        lines = [f"MOV #{source},R1", f"MOV #{self.slot(0)},R2", f"MOV #{self.terms}.,R3"]
        lines += [f"{self.name}.patch:", *copies]
        lines += [f"ADD #{skip}.,R1"] * bool(skip)
        size = copy_words(constant) * self.columns + 4
        lines += [
            f"ADD #{self.stride}.,R2",
            count_back(cpu, "R3", f"{self.name}.patch", self.terms, size),
        ]
        return "\n".join(lines)


def copy_code(slot: str, constant: int) -> str:
    """The next code from (R1)+ to a slot; uses R0 where the constant is not that of two halves."""
    if constant == USUAL:
        return f"MOV (R1)+,{slot}"
    return f"MOV (R1)+,R0\nADD #{constant - USUAL}.,R0\nMOV R0,{slot}"


def copy_words(constant: int) -> int:
    """Words of a copy_code, at most."""
    return 2 if constant == USUAL else 5


def count_back(cpu: Cpu, register: str, label: str, times: int, size: int) -> str:
    """Count a register down and go back so many words, also where SOB does not reach."""
    if size < SOB_REACH:
        return cpu.count(register, label, times)
    return loop_back(label, f"{label}.end", times, register)


def at(offset: int | str, register: str) -> str:
    """The operand so many bytes behind a register: the shorter mode where there are none."""
    text = f"{offset}." if isinstance(offset, int) else offset
    return f"({register})" if text == "0." else f"{text}({register})"


def read_along(term: int) -> str:
    """The stream lies term after term."""
    return NEXT


def read_down(step: int) -> Load:
    """The stream is a column of a matrix with rows of so many bytes."""
    return lambda term: f"{step * term}.(R1)"


def wrap(register: str) -> str:
    """A number as an index of the table of codes, modulo its 8192 bytes."""
    return f"BIC #{WRAP},{register}"


def encode(registers: range, to: Callable[[int], str]) -> str:
    """Store the codes of sums; to(k) is where the k-th goes."""
    return "\n".join(
        f"{wrap(f'R{register}')}\nMOV codes(R{register}),{to(k)}"
        for k, register in enumerate(registers)
    )


def store_next(k: int) -> str:
    return "(SP)+"


def store_from(offset: int) -> Callable[[int], str]:
    """Words in turn, from an offset of SP on."""
    return lambda k: f"{offset + 2 * k}.(SP)"


def repeat(pointer: str, end: str, label: str, times: int) -> str:
    """Go back to a label, however far, until a pointer has come to its end."""
    return f"""\
    CMP {pointer},#{end}
    BHIS {label}.end ;@ times {times}
    JMP {label}
{label}.end:"""

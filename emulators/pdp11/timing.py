"""How long an instruction takes, in nanoseconds: a row of numbers a processor and its memory.

An instruction takes execute + source + destination; the tables below say how long each is by its
addressing mode: R, (R), (R)+, @(R)+, -(R), @-(R), X(R), @X(R). The emulator (`decode_table`,
`Extended`) and the static prediction (`instruction_time`) read the same rows.

To add a machine: a row in TIMINGS. Each says where its numbers are from, or `unverified`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from anachron.emulators.pdp11.dispatch import kind
from anachron.emulators.pdp11.general import RESERVED_ROW
from anachron.emulators.pdp11.isa import DECODED, FLAG_OPERATORS, Instruction

Modes = tuple[int, int, int, int, int, int, int, int]
Range = tuple[int, int, int]  # the least, the expected, the most
MEAN_TRANSITIONS = 8  # of the bits of a random word; 16 pairs of neighbours, every second differs


@dataclass(frozen=True)
class Extended:
    """What data adds to MUL, DIV, ASH and ASHC; the names are fields of the processor."""

    mul_step: int = 0  # for each 0-1 or 1-0 in the register, from the right, beginning at 0
    mul_negative: int = 0  # the source is negative
    mul_zero: int = 0  # the product is 0
    mul_short: int = 0  # or else its high word is 0 or -1
    mul_least: int = 0  # the source is 100000: instead of the steps, by the register's sign
    mul_least_negative: int = 0
    mul_both_least: int = 0
    div_by_zero: int = 0
    div_overflow: int = 0
    div_odd: int = 0  # the quotient is odd, even, or 0
    div_even: int = 0
    div_no_quotient: int = 0
    div_negative: int = 0  # the dividend is negative
    ash_none: int = 0  # by 0
    ash_left: int = 0
    ash_right: int = 0
    ash_step: int = 0  # for each bit shifted
    ashc_none: int = 0
    ashc_left: int = 0
    ashc_left_carry: int = 0  # the last bit shifted out is a 1
    ashc_right: int = 0
    ashc_right_carry: int = 0
    ashc_step: int = 0
    ashc_no_high: int = 0  # the result's high word is 0


@dataclass(frozen=True)
class Timing:
    """One machine's times."""

    name: str
    source: str  # where the numbers come from
    source_modes: Modes
    operand: Mapping[str, tuple[int, Modes]]  # mnemonic -> execute, destination
    plain: Mapping[str, int]  # mnemonic -> all of it
    branch: tuple[int, int]  # not taken, taken
    sob: tuple[int, int]
    extended: Extended
    trap_ns: int  # a trap that no instruction asked for: T bit, stack limit
    reserved_ns: int  # an instruction that there is not, trap included
    abort_ns: int  # from the begin of an instruction aborted for an odd address, trap included
    timeout_ns: int  # the same where nothing answered
    interrupt_ns: int
    reset_ns: int
    odd_byte: int  # a byte at an odd address
    latencies: Mapping[str, int]  # a device's registers answer so much later than memory


def _group(mnemonics: str, execute: int, *modes: int) -> dict[str, tuple[int, Modes]]:
    return {mnemonic: (execute, modes) for mnemonic in mnemonics.split()}  # type: ignore[misc]


_LL34_SOURCE = (0, 430, 610, 1220, 610, 1220, 1400, 2010)
_LL34_MODIFY = (0, 760, 940, 1550, 940, 1550, 1730, 2340)
_LL34_STEP = (0, 940, 1120, 1730, 1120, 1730, 1910, 2520)

LL34 = Timing(
    name="ll-34",
    source="measured on ll-34, a microcycle-accurate 11/34A: memory answers in 300 ns. Unverified, "
           "because it runs them wrongly: XOR, MTPS, MARK, BPT, odd addresses. A timeout is that of"
           " an operand (R); an interrupt is as short as ll-34 makes it",
    source_modes=_LL34_SOURCE,
    operand={
        **_group("MOV", 1510, 0, 510, 510, 1300, 690, 1300, 1480, 2090),
        **_group("CMP BIT", 1690, *_LL34_SOURCE),
        **_group("ADD SUB BIC BIS XOR", 1690, *_LL34_MODIFY),
        **_group("CLR COM INC DEC ADC SBC SXT MFPS", 1330, *_LL34_STEP),
        **_group("TST", 1330, 0, 610, 790, 1400, 790, 1400, 1580, 2190),
        **_group("NEG ROR ROL ASR ASL", 1690, *_LL34_MODIFY),
        **_group("SWAB", 1510, *_LL34_MODIFY),
        **_group("JMP", 0, 5010, 1330, 1690, 2120, 1510, 2120, 2120, 2910),
        **_group("JSR", 0, 5010, 2560, 2740, 3170, 2560, 3170, 3350, 3960),
        **_group("MUL", 6730, *_LL34_SOURCE),
        **_group("DIV ASH ASHC", 0, *_LL34_SOURCE),
        **_group("MFPI MFPD", 2200, 0, 610, 790, 1220, 790, 1220, 1400, 2010),
        **_group("MTPI MTPD", 2300, 0, 690, 870, 1300, 870, 1300, 1480, 2090),
        **_group("MTPS", 2300, *_LL34_SOURCE),
    },
    plain={"RTS": 2300, "RTI": 3090, "RTT": 3090, "MARK": 2960, "HALT": 1150, "WAIT": 1150,
           "RESET": 1330, "EMT": 5010, "TRAP": 5010, "BPT": 5010, "IOT": 5010, "NOP": 1510,
           "CLx": 1510, "SEx": 1510, "SPL": 1510},
    branch=(1150, 1690), sob=(1570, 1930),
    extended=Extended(
        mul_step=180, mul_negative=60, mul_zero=240, mul_short=60, mul_least=240,
        mul_least_negative=480, mul_both_least=-2400, div_by_zero=2110, div_overflow=3130,
        div_odd=9970, div_even=10150, div_no_quotient=10090, div_negative=480, ash_none=3250,
        ash_left=3670, ash_right=2890, ash_step=180, ashc_none=3190, ashc_left=3250,
        ashc_left_carry=180, ashc_right=3190, ashc_right_carry=-180, ashc_step=180,
        ashc_no_high=60),
    trap_ns=4040, reserved_ns=5010, abort_ns=5190, timeout_ns=27500, interrupt_ns=480,
    reset_ns=0, odd_byte=0,
    latencies={"DL11": -150, "PC11": -150, "KW11": -200, "PSW": -200, "SWITCHES": -200,
               "KT11": -200})


def _kd11e(name: str, memory: str, tables: Mapping[str, Sequence[int]]) -> Timing:
    """DEC's own table of the 11/34, for one of its two memories."""
    def modes(key: str) -> Modes:
        return 0, *tables[key]  # type: ignore[return-value]

    def row(mnemonics: str, execute: str, destination: str) -> dict[str, tuple[int, Modes]]:
        return _group(mnemonics, tables["execute"][_EXECUTE.index(execute)], *modes(destination))

    def one(execute: str) -> int:
        return tables["execute"][_EXECUTE.index(execute)]

    read, modify = "read", "modify"
    return Timing(
        name=name,
        source=f"EK-KD11E-TM-001 (1976), table 2-7, {memory}; SXT, reserved instructions, aborts, "
               "and what a device's latency adds unverified; memory management's 120 ns a memory "
               "cycle not counted",
        source_modes=modes("source"),
        operand={
            **row("MOV", "MOV", "MOV"), **row("ADD SUB BIC BIS XOR", "ADD", modify),
            **row("CMP BIT", "ADD", read), **row("CLR COM INC DEC ADC SBC SXT", "CLR", modify),
            **row("TST", "CLR", read), **row("NEG", "NEG", modify), **row("SWAB", "NEG", "shift"),
            **row("ROR ROL ASR ASL", "ROR", "shift"), **row("MTPS", "MTPS", "MTPS"),
            **row("MFPS", "MFPS", "MFPS"), **row("MFPI MFPD", "MFPI", "MFPI"),
            **row("MTPI MTPD", "MTPI", "MFPI"), **row("MUL", "MUL", read),
            **_group("DIV ASH ASHC", 0, *modes(read)),
            **_group("JMP", 0, one("trap"), *tables["JMP"]),
            **_group("JSR", 0, one("trap"), *tables["JSR"]),
        },
        plain={"RTS": one("RTS"), "MARK": one("MARK"), "RTI": one("RTI"), "RTT": one("RTI"),
               "NOP": one("flags"), "CLx": one("flags"), "SEx": one("flags"), "SPL": one("flags"),
               "HALT": one("HALT"), "WAIT": one("HALT"), "RESET": 0,
               **dict.fromkeys(("IOT", "EMT", "TRAP", "BPT"), one("trap"))},
        branch=(one("not"), one("branch")), sob=(one("SOB not"), one("SOB")),
        extended=Extended(
            mul_step=200, div_by_zero=one("DIV overflow"), div_overflow=one("DIV overflow"),
            div_odd=one("DIV"), div_even=one("DIV"), div_no_quotient=one("DIV"),
            ash_none=one("ASH"), ash_left=one("ASH"), ash_right=one("ASH"), ash_step=200,
            ashc_none=one("ASH"), ashc_left=one("ASH"), ashc_right=one("ASH"), ashc_step=200),
        trap_ns=one("trap"), reserved_ns=one("trap"), abort_ns=one("trap"),
        timeout_ns=one("trap") + 22_000, interrupt_ns=one("trap"), reset_ns=100_000_000,
        odd_byte=0, latencies={})


_EXECUTE = ("ADD", "MOV", "CLR", "NEG", "ROR", "MTPS", "MFPS", "MUL", "DIV overflow", "DIV", "ASH",
            "MFPI", "MTPI", "branch", "not", "SOB", "SOB not", "RTS", "MARK", "RTI", "flags",
            "HALT", "trap")
DEC = _kd11e("dec", "core memory MM11-DP", {
    "source": (1130, 1330, 2370, 1280, 2570, 2570, 3800),
    "modify": (1620, 1770, 2900, 1770, 3000, 3100, 4290),
    "MOV": (930, 930, 2170, 1130, 2220, 2370, 3500),
    "MTPS": (950, 1130, 2260, 1130, 2260, 2440, 3570),
    "MFPS": (640, 640, 1950, 820, 1950, 2130, 3260),
    "shift": (1420, 1570, 2700, 1620, 2800, 2900, 4090),
    "read": (1130, 1280, 2420, 1330, 2520, 2620, 3800),
    "MFPI": (980, 1320, 2200, 1180, 2200, 2400, 3590),
    "JMP": (1830, 2180, 3120, 2030, 3070, 3070, 4250),
    "JSR": (3320, 3470, 4400, 3320, 4400, 4600, 5690),
    "execute": (2030, 1830, 1830, 2030, 2180, 2990, 1990, 8820, 2780, 12480, 4180, 3070, 3370,
                2180, 1630, 2380, 1980, 3320, 4270, 4600, 2030, 1680, 7320)})
DEC_MOS = _kd11e("dec-mos", "MOS memory MS11-JP", {
    "source": (1260, 1460, 2620, 1410, 2820, 2820, 4180),
    "modify": (1740, 1890, 3150, 1890, 3250, 3350, 4660),
    "MOV": (930, 930, 2290, 1130, 2340, 2490, 3750),
    "MTPS": (950, 1260, 2510, 1260, 2510, 2690, 4200),
    "MFPS": (640, 640, 2080, 820, 2080, 2260, 3510),
    "shift": (1540, 1690, 2950, 1740, 3050, 3150, 4460),
    "read": (1260, 1410, 2670, 1460, 2770, 2870, 4180),
    "MFPI": (1240, 1440, 2450, 1440, 2450, 2650, 3960),
    "JMP": (1960, 2310, 3370, 2160, 3320, 3320, 4780),
    "JSR": (3440, 3590, 4650, 3440, 4650, 4850, 6060),
    "execute": (2160, 1960, 1960, 2160, 2310, 3120, 2120, 8950, 2910, 12610, 4310, 3140, 3340,
                2310, 1760, 2510, 2110, 3570, 4520, 4980, 2160, 1810, 7700)})

_KA11_DESTINATION = (0, 1400, 1400, 2600, 1400, 2600, 2600, 3800)
_KA11_READ = (0, 1000, 1000, 2200, 1000, 2200, 2200, 3400)
KA11 = Timing(
    name="11/20",
    source="unverified: a PDP-11/20 handbook's chapter 4 from memory and a poor scan; core memory, "
           "20 % either way by DEC's own word; interrupts, aborts and WAIT are guesses",
    source_modes=(0, 1500, 1500, 2700, 1500, 2700, 2700, 3900),
    operand={
        **_group("MOV ADD SUB BIC BIS", 2300, *_KA11_DESTINATION),
        **_group("CMP BIT TST", 2300, *_KA11_READ),
        **_group("CLR COM INC DEC NEG ADC SBC ROR ROL ASR ASL SWAB", 2300, *_KA11_DESTINATION),
        **_group("JMP", 1200, 8100, *_KA11_DESTINATION[1:]),
        **_group("JSR", 4200, 5100, *_KA11_DESTINATION[1:]),
    },
    plain={"RTS": 3500, "RTI": 4800, "EMT": 9300, "TRAP": 9300, "IOT": 9300, "BPT": 9300,
           "NOP": 1500, "CLx": 1500, "SEx": 1500, "HALT": 1800, "WAIT": 1800, "RESET": 0},
    branch=(1500, 2600), sob=(0, 0), extended=Extended(),
    trap_ns=9300, reserved_ns=9300, abort_ns=9300, timeout_ns=9300 + 20_000, interrupt_ns=7200,
    reset_ns=20_000_000, odd_byte=600, latencies={})

TIMINGS = {row.name: row for row in (LL34, DEC, DEC_MOS, KA11)}
DEFAULT = {"pdp11": "ll-34", "pdp11/34a": "ll-34", "pdp11/20": "11/20"}  # by machine


def timing_row(timing: str) -> Timing:
    """A row by its name; ValueError if there is none."""
    if timing not in TIMINGS:
        raise ValueError(f"no times called {timing!r}: there are {', '.join(TIMINGS)}")
    return TIMINGS[timing]


def _fixed_ns(row: Instruction, word: int, times: Timing) -> int | None:
    """What does not depend on data, branches as not taken; None where the row has no time."""
    name = row.mnemonic.removesuffix("B") if row.byte else row.mnemonic
    if row.form == "OOO":
        return times.branch[0]
    if row.form == "RNN":
        return times.sob[0]
    if name in times.plain:
        return times.plain[name]
    if name not in times.operand:
        return None
    execute, destination = times.operand[name]
    ns = execute + destination[word >> 3 & 7]
    return ns + times.source_modes[word >> 9 & 7] if row.form == "SSDD" else ns


@cache
def decode_table(model: str, timing: str) -> np.ndarray:
    """Every word's time and kind, as the processor's `decode`; what a model lacks is reserved."""
    times = timing_row(timing)
    reserved = times.reserved_ns << 16 | RESERVED_ROW << 8
    kinds = np.full(0o200000, reserved, np.uint32)
    for word, row in enumerate(DECODED):
        if row is not None and row.exists_on(model):
            ns = _fixed_ns(_general(row), word, times)
            kinds[word] = reserved if ns is None else ns << 16 | kind(_general(row), word)
    return kinds


def _general(row: Instruction) -> Instruction:
    """CLC and its like are, to the processor, what clears or sets any flags."""
    if 0o240 < row.opcode < 0o300 and row.form == "":
        return FLAG_OPERATORS[row.opcode >= 0o260]
    return row


def instruction_time(words: Sequence[int], timing: str = "ll-34") -> Range:
    """Nanoseconds of an instruction: the least, the expected, the most, as far as its words tell.

    words  the instruction and the words behind it; immediate operands are looked at
    Branches and SOB: not taken, the mean, taken. RESET takes what the row's reset_ns says more.

    >>> instruction_time([0o010001])
    (1510, 1510, 1510)
    >>> instruction_time([0o072027, 0o177770])
    (4940, 4940, 4940)
    """
    times = timing_row(timing)
    row = DECODED[words[0] & 0xFFFF]
    fixed = None if row is None else _fixed_ns(_general(row), words[0], times)
    if row is None or fixed is None:
        return times.reserved_ns, times.reserved_ns, times.reserved_ns
    if row.form in ("OOO", "RNN"):
        no, yes = times.branch if row.form == "OOO" else times.sob
        if row.mnemonic == "BR":
            return yes, yes, yes
        return no, (no + yes) // 2, yes
    operand = words[1] & 0xFFFF if words[0] & 0o77 == 0o27 and len(words) > 1 else None
    low, mean, high = extended_time(row.mnemonic, operand, times.extended)
    return fixed + low, fixed + mean, fixed + high


def extended_time(mnemonic: str, operand: int | None, x: Extended) -> Range:
    """What data may add to an instruction of the extended set; 0 for all others."""
    match mnemonic:
        case "MUL":
            return _multiply_time(operand, x)
        case "DIV":
            if operand == 0:
                return x.div_by_zero, x.div_by_zero, x.div_by_zero
            values = (x.div_overflow, x.div_odd, x.div_even, x.div_no_quotient)
            least = min(values) if operand is not None else min(*values, x.div_by_zero)
            return least, (x.div_odd + x.div_even) // 2, max(values) + x.div_negative
        case "ASH":
            return _shift_time(operand, x.ash_none, (x.ash_left,), (x.ash_right,), x.ash_step, 0)
        case "ASHC":
            return _shift_time(
                operand, x.ashc_none, (x.ashc_left, x.ashc_left + x.ashc_left_carry),
                (x.ashc_right, x.ashc_right + x.ashc_right_carry), x.ashc_step, x.ashc_no_high)
    return 0, 0, 0


def _multiply_time(operand: int | None, x: Extended) -> Range:
    """For a source that is not negative, one that is, and the least of all, as far as known."""
    steps = (0, 16 * x.mul_step)
    least = (x.mul_least, x.mul_least_negative, x.mul_both_least)
    kinds = {0: steps, 1: (x.mul_negative + steps[0], x.mul_negative + steps[1]),
             2: (x.mul_negative + min(least), x.mul_negative + max(least))}
    if operand is not None:
        kinds = {0: kinds[2 if operand == 0o100000 else operand >> 15]}
    mean = MEAN_TRANSITIONS * x.mul_step + x.mul_negative // 2
    low, high = min(a for a, _ in kinds.values()), max(b for _, b in kinds.values())
    return low, min(max(low, mean), high), high + max(x.mul_zero, x.mul_short)


def _shift_time(operand: int | None, none: int, left: Sequence[int], right: Sequence[int],
                step: int, no_high: int) -> Range:
    """Of all counts, or of the one that is known."""
    counts = range(-32, 32) if operand is None else ((operand & 63 ^ 32) - 32,)
    values = [base + step * abs(n) for n in counts
              for base in ((none,) if n == 0 else left if n > 0 else right)]
    return min(values), sum(values) // len(values), max(values) + no_high


def time_fields(timing: str) -> dict[str, int]:
    """The processor's fields that a row of times sets."""
    times = timing_row(timing)
    return {
        **{f.name: getattr(times.extended, f.name) for f in fields(Extended)},
        "branch_taken": times.branch[1] - times.branch[0], "sob_taken": times.sob[1] - times.sob[0],
        "odd_byte": times.odd_byte, "trap_ns": times.trap_ns, "abort_ns": times.abort_ns,
        "timeout_ns": times.timeout_ns}

"""attention: a lane has a head of two streams, and reads only what it has written itself.

A key's row is kept with its low and its high bytes apart, so that dp2a multiplies it by words of
the query: 256 high + low, as in matvec.py.  Values are kept as they are; two positions at a time
are multiplied by the two weights in the bytes of a word.  A row that is one too many has weight 0.

    [position][head of keys][half of the streams][line of features][lane]   bytes of LINE or less

What bounds it: two loads a position and head from the second-level cache or the memory behind it;
their bytes are counted by row_bytes.  So what shared memory is left keeps the first rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anachron.kernels.cuda.batch.fragments import At, Heads, Value, packed
from anachron.kernels.cuda.batch.matvec import HIGH, LOW
from anachron.kernels.cuda.places import WARP, indent

SPLIT_BITS = 8  # of the low part of a key
MOST_WIDE = 256  # features of a head whose products with the bytes of a key fit 32 bits
LOWEST = -(1 << 30)  # below every score: lowering proves it
SCORE_BYTES = 16  # a lane's scores of two positions and two streams
PAIR_LOW, PAIR_HIGH = 0x5410, 0x7632  # of two words: both low halves, both high ones
LOWS, HIGHS = 0x6240, 0x7351  # the low bytes of all four halves, in turn; the high ones
PARTS = ("sum", "high")  # of a wide sum, the second 256 times as much
MOST_TOTAL = 1 << 22  # of the weights, so that the parts of a wide sum fit 32 bits


@dataclass(frozen=True)
class Cache:
    """Where a value's rows lie: the first `near` ones in shared memory, the others in the warp's.

    The first rows are read at every position, the last one once.

    offset       of row 0 in the warp's memory, had it all rows
    near_offset  of row 0 in the warp's part of shared memory, which begins at `rows`
    split        the bytes of four features apart, and no high ones where the values have 8 bits
    """

    offset: int
    heads: Heads
    bits: int
    split: bool
    near: int = 0
    near_offset: int = 0

    @property
    def _words(self) -> int:
        """Of a head's row for one lane."""
        return self.heads.width // (4 if self.split and self.bits <= 8 else 2)

    @property
    def _line(self) -> int:
        """Words of one load."""
        return next(n for n in (4, 2, 1) if self._words % n == 0)

    @property
    def row_bytes(self) -> int:
        """Of a position, for a warp."""
        return self.heads.keys * 2 * self._words * 4 * WARP

    def _at(self, memory: str, key: int, half: int, line: int) -> int:
        lines = self._words // self._line
        start = self.near_offset if memory == "sm" else self.offset
        return start + ((key * 2 + half) * lines + line) * 4 * self._line * WARP

    def store(self, x: Value, rows: int) -> list[str]:
        """The lines that write a position's row, one of so many."""
        if self.near >= rows:
            return self._store(x, "sm")
        if not self.near:
            return self._store(x, "mine")
        near, far = (indent(self._store(x, memory)) for memory in ("sm", "mine"))
        return [f"if p < {self.near}:", *near, "else:", *far]

    def _store(self, x: Value, memory: str) -> list[str]:
        lines = [self.stride("p", memory)]
        for key in range(self.heads.keys):
            for half in range(2):
                first = key * self.heads.width // 2
                words = [x.word(half, first + i) for i in range(self.heads.width // 2)]
                if self.split:
                    words = self.take_apart(words)
                for line in range(self._words // self._line):
                    some = ", ".join(words[line * self._line :][: self._line])
                    to = f"{memory}, at, {self._at(memory, key, half, line)}"
                    lines.append(f"store{32 * self._line}({to}, {some})")
        return lines

    def take_apart(self, words: list[str]) -> list[str]:
        """The texts of a row's words as they are kept where they are split."""
        pairs = list(zip(words[::2], words[1::2], strict=True))
        parts = [f"prmt({a}, {b}, {LOW})" for a, b in pairs]
        if self.bits > 8:
            parts += [f"prmt({a}, {b}, {HIGH})" for a, b in pairs]
        return parts

    def load(
        self, memory: str, name: str, key: int, half: int, next_row: bool
    ) -> tuple[list[str], list[str]]:
        """Lines that load a row (at `at`, or the one behind it), and the texts of its words."""
        lines, words = [], []
        width = 32 * self._line
        for line in range(self._words // self._line):
            offset = self._at(memory, key, half, line) + next_row * self.row_bytes
            lines.append(f"{name}{line} = load{width}({memory}, at, {offset})")
            words += [f"{name}{line}[{i}]" if self._line > 1 else f"{name}{line}"
                      for i in range(self._line)]
        return lines, words

    def stride(self, row: str, memory: str) -> str:
        """The line that finds a row's offset."""
        start = f"lane{4 * self._line}"
        if memory == "sm":
            start = f"add32({start}, rows)"
        return f"at = add32(mul32({row}, {self.row_bytes}), {start})"

    def over_pairs(
        self, seen: str, rows: int, body: Callable[[str], list[str]]
    ) -> list[str]:
        """body(memory) for pairs of rows from 0 on, j the first of each, as far as they are seen.

        rows  that there are at most
        """
        lines = ["j = int32(0)"]
        step = ["j = add32(j, 2)"]
        if self.near:
            last = seen if self.near >= rows else f"min32({seen}, {self.near - 2})"
            lines += [f"last = {last}", "while j <= last:", *indent([*body("sm"), *step])]
        if self.near < rows:
            lines += [f"while j <= {seen}:", *indent([*body("mine"), *step])]
        return lines


def attention(
    q: Value,
    k: Value,
    v: Value,
    keys: Cache,
    values: Cache,
    table: At,
    y: Value,
    *,
    heads: Heads,
    score_shift: int,
    last: int,
    seen: str,
    wide_score: bool,
    wide_sum: bool,
    scores: int,
    rows: int,
) -> list[str]:
    """The floored mean of values, weighted by a table of the distance to the largest score.

    The position's own row is still in registers; the others are read, in pairs.

    table  bytes; last is the number of its last entry
    seen   the text of the number of the last row that is read, -1 for none
    wide_score, wide_sum  sums that may leave 32 bits, and are kept in two parts
    scores                where in their memory the scores begin
    rows                  of keys and of values, at most: an even number
    """
    lines: list[str] = []
    tiles = heads.width // 2
    for i in range(heads.each):
        key = heads.key_of(i)
        first = i * tiles
        place = f"scores, add32(mul32(j, {SCORE_BYTES * WARP // 2}), score), {scores}"

        def score(memory: str, key: int = key, first: int = first, to: str = place) -> list[str]:
            scoring = [keys.stride("j", memory)]
            for half in range(2):
                query = [q.word(half, first + m) for m in range(tiles)]
                for row in range(2):
                    load, words = keys.load(memory, f"k{half}{row}", key, half, row == 1)
                    name = f"s{half}{row}"
                    scoring += load
                    scoring += _score(query, words, keys.bits, name, score_shift, wide_score)
                scoring.append(f"s{half}1 = select_lt(j, {seen}, s{half}1, {LOWEST})")
                scoring.append(f"largest{half} = max32(largest{half}, max32(s{half}0, s{half}1))")
            return [*scoring, f"store128({to}, s00, s01, s10, s11)"]

        def mix(memory: str, key: int = key, scored: str = place) -> list[str]:
            mixing = [values.stride("j", memory), f"s = load128({scored})"]
            for half in range(2):
                mixing += _weights(half, table, last, seen, 16 if wide_sum else 8)
                mixing += _mix(memory, half, values, key, tiles, wide_sum)
            return mixing

        for half in range(2):
            own = [k.word(half, key * tiles + m) for m in range(tiles)]
            parts = keys.take_apart(own)
            words = [f"k{n}" for n in range(len(parts))]
            lines += [f"{name} = {part}" for name, part in zip(words, parts, strict=True)]
            query = [q.word(half, first + m) for m in range(tiles)]
            lines += _score(query, words, keys.bits, f"own{half}", score_shift, wide_score)
            lines.append(f"largest{half} = own{half}")
        lines += keys.over_pairs(seen, rows, score)
        for half in range(2):
            own = [v.word(half, key * tiles + m) for m in range(tiles)]
            lines += _mix_own(half, own, table, last, wide_sum)
        lines += values.over_pairs(seen, rows, mix)
        for half in range(2):
            lines += _means(half, tiles, wide_sum)
            for m in range(tiles):
                word = y.word(half, first + m)
                low, high = (f"sum{half}_{2 * m + e}" for e in range(2))
                lines.append(f"{word} = {packed(high, low, y.bits)}")
    return lines


def _weights(half: int, table: At, last: int, seen: str, apart: int) -> list[str]:
    """near: the weights of two positions in a word, so many bits apart; their sum to total."""
    lines = []
    for row in range(2):
        distance = f"min32(sub32(largest{half}, s[{2 * half + row}]), {last})"
        lines.append(f"near{row} = {table.fetch('u8', distance)}")
    return [
        *lines,
        f"near1 = select_lt(j, {seen}, near1, 0)",
        f"total{half} = add32(total{half}, add32(near0, near1))",
        f"near = add32(near0, shl32(near1, {apart}))",
    ]


def _mix(memory: str, half: int, values: Cache, key: int, tiles: int, wide: bool) -> list[str]:
    """Two positions' values times their weights.

    Narrow, words by the weights' bytes; wide, the bytes of both by the weights as words.
    """
    lines, rows = [], []
    for row in range(2):
        load, words = values.load(memory, f"v{row}", key, half, row == 1)
        lines += load
        rows.append(words)
    for m in range(tiles):
        a, b = rows[0][m], rows[1][m]
        if wide:
            for part, (select, kind) in zip(PARTS, ((LOWS, "_u"), (HIGHS, "")), strict=True):
                lines.append(f"both = prmt({a}, {b}, {select})")
                for e, which in enumerate(("lo", "hi")):
                    name = f"{part}{half}_{2 * m + e}"
                    lines.append(f"{name} = dp2a_{which}{kind}(near, both, {name})")
            continue
        for e, select in enumerate((PAIR_LOW, PAIR_HIGH)):
            name = f"sum{half}_{2 * m + e}"
            lines.append(f"{name} = dp2a_lo_u(prmt({a}, {b}, {select}), near, {name})")
    return lines


def _mix_own(half: int, words: list[str], table: At, last: int, wide: bool) -> list[str]:
    """Where the sums start: the position's own value times its weight."""
    distance = f"min32(sub32(largest{half}, own{half}), {last})"
    lines = [f"near = {table.fetch('u8', distance)}", f"total{half} = near"]
    for m, word in enumerate(words):
        for e, which in enumerate(("lo", "hi")):
            if wide:
                for part, (select, kind) in zip(PARTS, ((LOWS, "_u"), (HIGHS, "")), strict=True):
                    text = f"dp2a_{which}{kind}(near, prmt({word}, 0, {select}), 0)"
                    lines.append(f"{part}{half}_{2 * m + e} = {text}")
            else:
                weight = "shl32(near, 8)" if e else "near"
                lines.append(f"sum{half}_{2 * m + e} = dp2a_lo_u({word}, {weight}, 0)")
    return lines


def _means(half: int, tiles: int, wide: bool) -> list[str]:
    """Each sum over its total.

    Wide: 256 high + low is 256 (quotient total + rest) + low, and 256 rest + low has 32 bits.
    """
    lines = [f"total = max32(1, total{half})", "whole = udiv_all(total)"]
    for d in range(2 * tiles):
        low, high = (f"{part}{half}_{d}" for part in PARTS)
        if wide:
            lines += [f"rest = {high}", *divide(high, "total", "whole")]
            lines.append(f"rest = sub32(rest, mul32({high}, total))")
            lines.append(f"{low} = add32({low}, shl32(rest, {SPLIT_BITS}))")
        lines += divide(low, "total", "whole")
        if wide:
            lines.append(f"{low} = add32({low}, shl32({high}, {SPLIT_BITS}))")
    return lines


def _score(
    query: list[str], words: list[str], bits: int, name: str, shift: int, wide: bool
) -> list[str]:
    """name = q . k >> shift, k with its bytes apart.

    256 high + low shifted by 8 or more is high + (low >> 8), shifted by that much less.
    """
    lows, highs = words[: len(query) // 2], words[len(query) // 2 :]
    lines = [f"{name} = int32(0)"]

    def products(prmt: list[str], suffix: str, total: str = name) -> None:
        for four, word in enumerate(prmt):
            for part, which in enumerate(("lo", "hi")):
                other = query[2 * four + part]
                lines.append(f"{total} = dp2a_{which}{suffix}({other}, {word}, {total})")

    if wide:
        products(highs, "")
        lines.append("rest = int32(0)")
        products(lows, "_u", "rest")
        lines.append(f"{name} = add32({name}, sar32(rest, {SPLIT_BITS}))")
        shift -= SPLIT_BITS
    elif bits > 8:
        products(highs, "")
        lines.append(f"{name} = shl32({name}, 8)")
        products(lows, "_u")
    else:
        products(lows, "")
    lines.append(f"{name} = sar32({name}, {min(shift, 31)})")
    return lines


def divide(name: str, by: str, whole: str) -> list[str]:
    """name = floor(name / by), with whole = 0xffffffff / by: off by one at most, then put right.

    For n below 2**32, n whole >> 32 is the quotient or one less: by * whole lacks at most `by` to
    2**32, so the error is at most n / 2**32 and the floor of it.
    """
    return [
        f"sign = sar32({name}, 31)",
        f"n = xor32({name}, sign)",
        f"quotient = mulhi32(n, {whole})",
        f"n = sub32(n, mul32(quotient, {by}))",
        f"quotient = select_lt(n, {by}, quotient, add32(quotient, 1))",
        f"{name} = xor32(quotient, sign)",
    ]

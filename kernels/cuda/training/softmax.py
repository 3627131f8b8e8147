"""The softmaxes of attention and of the loss, and the gradient of attention's scores.

A row is shared by as many lanes as there are for each, neighbours; what belongs to all of it, they
tell each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anachron.kernels.cuda.places import WARP
from anachron.kernels.cuda.training.grid import Field
from anachron.kernels.cuda.training.products import Scale
from anachron.kernels.cuda.training.tables import (
    EXACT,
    LEVEL_CODES,
    SILENT_BITS,
    Tables,
    bits,
    find_scale,
    integer,
    multiply_into,
)
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES, MOST_SPREAD, NEGLIGIBLE
from anachron.kernels.reference.log_model import FARTHEST, SUM_SHIFT, softmax_octaves
from anachron.kernels.reference.log_tables import octaves

LEAST = -(1 << 31)  # of a key: a number above, and below it how far its place is from LAST
LAST = (1 << 16) - 1
HALF = bits(find_scale(0, LEVEL_CODES, (0,)))  # of a level's product


@dataclass(frozen=True)
class Rows:
    """Rows of some entries, and how a warp shares them: entry j is the lane's i-th, and j is
    part + share * i."""

    rows: int
    columns: int

    @property
    def share(self) -> int:
        lanes = 1
        while lanes < self.columns and 2 * lanes * self.rows <= WARP:
            lanes *= 2
        return lanes

    @property
    def entries(self) -> range:
        return range(-(-self.columns // self.share))

    def most(self, i: int) -> int | None:
        """The largest part that has an i-th entry; None where all have."""
        last = self.columns - 1 - self.share * i
        return last if last < self.share - 1 else None

    def place(self, i: int) -> str:
        """The text of an entry's number."""
        return f"add32(part, {self.share * i})"

    def each(self, body: Callable[[], list[str]]) -> list[str]:
        """body for every row: `row`, `part`, and `own`, 1 where they are the lane's."""
        at_once = WARP // self.share
        lines = [f"part = and32(lane, {self.share - 1})"]
        for start in range(0, self.rows, at_once):
            count = min(at_once, self.rows - start)
            number = f"shr32(lane, {self.share.bit_length() - 1})"
            lines.append(f"row = add32(min32({number}, {count - 1}), {start})")
            lines.append(
                f"own = select_lt(lane, {count * self.share}, 1, 0)"
                if count < at_once
                else "own = int32(1)"
            )
            lines += body()
        return lines

    def at(self, name: str, field: Field) -> list[str]:
        """name: the row; name_i: where an entry is, of the last ones that there are."""
        lines = [f"{name} = add32(w, mul32(row, {4 * field.stride}))"]
        lines.append(f"{name}_part = add32({name}, mul32(part, 4))")
        for i in self.entries:
            if (most := self.most(i)) is not None:
                lines.append(f"{name}_{i} = add32({name}, mul32(min32(part, {most}), 4))")
        return lines

    def read(self, name: str, field: Field, i: int) -> str:
        base = f"{name}_part" if self.most(i) is None else f"{name}_{i}"
        return f"load32(sm, {base}, {field.offset + 4 * self.share * i})"

    def write(self, name: str, field: Field, i: int, value: str) -> list[str]:
        """An entry of the lane's row, and nowhere if the row is not its own, or has none."""
        at = field.offset + 4 * self.share * i
        to, nowhere = f"{name}_part", f"sub32(spare, {at})"
        if (most := self.most(i)) is not None:
            to = f"select_lt({most}, part, {nowhere}, {to})"
        return [f"store32(sm, select_lt(0, own, {to}, {nowhere}), {at}, {value})"]

    def if_any(self, i: int, value: str, otherwise: str) -> str:
        """The text of a value, or of another where the lane has no i-th entry."""
        if (most := self.most(i)) is None:
            return value
        return f"select_lt({most}, part, {otherwise}, {value})"

    def join(self, name: str, how: str) -> list[str]:
        """All lanes of a row have the whole of what each has a part of."""
        lines, by = [], self.share // 2
        while by:
            lines.append(f"{name} = {how}({name}, shfl_xor({name}, {by}))")
            by //= 2
        return lines


def _levels(tables: Tables, rows: Rows, scores: Field, causal: bool) -> list[str]:
    """far0, far1, ..., four times how many steps of two an entry is below the largest; key, of
    that; and total, twice the code of the sum's eighth."""
    top = softmax_octaves(rows.columns)

    def seen(i: int, value: str, otherwise: str) -> str:
        if causal:
            value = f"select_lt(position, {rows.place(i)}, {otherwise}, {value})"
        return rows.if_any(i, value, otherwise)

    lines = [*rows.at("from_", scores), f"key = int32({LEAST})"]
    for i in rows.entries:
        lines.append(f"l{i} = {rows.read('from_', scores, i)}")
        number = f"or32(shl32(l{i}, 16), sub32({LAST - rows.share * i}, part))"
        lines.append(f"key = max32(key, {seen(i, number, str(LEAST))})")
    lines += [*rows.join("key", "max32"), "most = high16(key)", f"total = int32({EXACT})"]
    for i in rows.entries:
        lines += _far(f"far{i}", f"l{i}")
        lines += tables.level("v", f"far{i}", octaves(top))
        lines.append(f"v = {seen(i, 'v', '0')}")
        lines += multiply_into("total", "v", f"{HALF}", False)
    lines += rows.join("total", "add32")
    return lines + tables.total("total", f"sar32(total, {SUM_SHIFT - 1})")


def _far(name: str, value: str) -> list[str]:
    return [f"{name} = and32(umin32(sub32(most, {value}), {FARTHEST}), -4)"]


def attention_weights(tables: Tables, scores: Field, weights: Field, causal: bool) -> list[str]:
    """The softmax of each row of scores, as floats; a row's number modulo the columns is its
    position."""
    rows = Rows(scores.rows, scores.columns)
    one = octaves(softmax_octaves(rows.columns) - SUM_SHIFT)

    def body() -> list[str]:
        lines = [f"position = urem32(row, {rows.columns})"] if causal else []
        lines += [*_levels(tables, rows, scores, causal), *rows.at("to", weights)]
        for i in rows.entries:
            lines += tables.level("v", f"add32(far{i}, total)", one)
            value = "v"
            if causal:
                value = f"select_lt(position, {rows.place(i)}, {SILENT_BITS}, v)"
            lines += rows.write("to", weights, i, value)
        return lines

    return rows.each(body)


def cross_entropy(
    tables: Tables, logits: Field, target: Field, gradient: Field, answers: Field
) -> list[str]:
    """The gradient as floats; loss, hits, counted and active grow by what the lane's row has.

    target   (1, rows), below 0 where it does not count
    answers  (1, rows), the likeliest id of each row
    """
    rows = Rows(logits.rows, logits.columns)
    one = octaves(softmax_octaves(rows.columns) - SUM_SHIFT)
    whole = one + octaves(LOSS_OCTAVES)

    def body() -> list[str]:
        lines = [*_levels(tables, rows, logits, False), *rows.at("to", gradient)]
        lines.append(f"target = load32(sm, add32(w, mul32(row, 4)), {target.offset})")
        lines.append(
            f"right = load32(sm, add32(from_, mul32(max32(target, 0), 4)), {logits.offset})"
        )
        lines += [*_far("right", "right"), "right = add32(right, total)"]
        lines += tables.level("v", "right", whole)
        lines.append(f"lack = int32({EXACT})")
        lines += multiply_into("lack", "v", f"{HALF}", False)
        lines.append(f"lack = min32(0, sub32({integer('lack')}, {1 << LOSS_OCTAVES}))")
        lines += tables.code("missing", "lack")
        lines += [
            "counts = select_lt(target, 0, 0, own)",
            f"sends = select_lt(lack, {-NEGLIGIBLE}, counts, 0)",
            "counts = select_lt(part, 1, counts, 0)",
            f"best = and32(xor32(key, -1), {LAST})",
        ]
        for i in rows.entries:
            lines += tables.level("v", f"add32(far{i}, total)", whole)
            value = f"select_lt(eq32(target, {rows.place(i)}), 1, v, missing)"
            value = f"select_lt(0, sends, {value}, {SILENT_BITS})"
            lines += rows.write("to", gradient, i, value)
        return [
            *lines,
            f"loss = add32(loss, mul32(counts, sub32(shr32(right, 1), {one})))",
            "hits = add32(hits, mul32(counts, eq32(best, target)))",
            "counted = add32(counted, counts)",
            "active = add32(active, sends)",
            "own = select_lt(part, 1, own, 0)",
            f"to = select_lt(0, own, add32(w, mul32(row, 4)), sub32(spare, {answers.offset}))",
            f"store32(sm, to, {answers.offset}, best)",
        ]

    return rows.each(body)


def scores_gradient(
    tables: Tables,
    gradient: Field,
    weights: Field,
    forms: Sequence[tuple[Field, int | None, bool]],
    *,
    mean: Scale,
    score: Scale,
    most: int,
    saturates: bool,
) -> list[str]:
    """From dy . v of each score to the gradient of the score, clipped twice.

    mean, score   what a row's mean and its scores are brought to their scales by
    """
    rows = Rows(gradient.rows, gradient.columns)

    def body() -> list[str]:
        lines = [*rows.at("from_", gradient), *rows.at("other", weights)]
        lines.append(f"mean = int32({EXACT})")
        for i in rows.entries:
            lines.append(f"g{i} = {rows.read('from_', gradient, i)}")
            lines.append(f"p{i} = {rows.read('other', weights, i)}")
            lines += tables.code("c", f"g{i}", 0, saturates)
            lines.append(f"scaled = fmul(p{i}, {mean.text})")
            lines.append(f"scaled = {rows.if_any(i, 'scaled', '0')}")
            lines += multiply_into("mean", "c", "scaled", mean.clipped)
        lines += [*rows.join("mean", "add32"), f"mean = {integer('mean')}"]
        for f, (field, _, _) in enumerate(forms):
            lines += rows.at(f"to{f}", field)
        for i in rows.entries:
            spread = f"low16(sub32(g{i}, mean))"
            lines += tables.code("c", f"clamp32({spread}, {-MOST_SPREAD}, {MOST_SPREAD})")
            lines += [f"scaled = fmul(p{i}, {score.text})", f"x = int32({EXACT})"]
            lines += multiply_into("x", "c", "scaled", score.clipped)
            lines.append(f"x = clamp32({integer('x')}, {-most}, {most})")
            for f, (field, shift, clipped) in enumerate(forms):
                stored = "x"
                if shift is not None:
                    lines += tables.code("c", "x", shift, clipped)
                    stored = "c"
                lines += rows.write(f"to{f}", field, i, stored)
        return lines

    return rows.each(body)

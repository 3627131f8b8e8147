"""The softmaxes of attention and of the loss, and the gradient of attention's scores.

A lane takes a row, so that nothing is summed between lanes: rows are few, entries fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anachron.kernels.cuda.places import WARP
from anachron.kernels.cuda.training.grid import Field
from anachron.kernels.cuda.training.products import SIGNS, SILENT_WORD, SLOT, Tables, word
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES, MOST_SPREAD, NEGLIGIBLE
from anachron.kernels.reference.log_model import FARTHEST, SUM_SHIFT, softmax_octaves
from anachron.kernels.reference.log_tables import octaves

STEP = SIGNS * SLOT  # bytes of a word for two steps of a code
LEAST = -(1 << 15)


def each_row(rows: int, body: Callable[[], list[str]]) -> list[str]:
    """body for every row: `row`, and `own` where it is the lane's."""
    lines: list[str] = []
    for start in range(0, rows, WARP):
        count = min(WARP, rows - start)
        lines.append(f"row = add32(min32(lane, {count - 1}), {start})")
        lines.append(f"own = select_lt(lane, {count}, 1, 0)")
        lines += body()
    return lines


def _at(name: str, field: Field) -> str:
    return f"{name} = add32(w, mul32(row, {4 * field.stride}))"


def _store(name: str, field: Field, j: int, value: str) -> list[str]:
    """An element of the lane's row, and nowhere if the row is not its own."""
    at = field.offset + 4 * j
    to = f"select_lt(0, own, {name}, sub32(spare, {at}))"
    return [f"store32(sm, {to}, {at}, {value})"]


def _words(tables: Tables, scores: Field, seen: Callable[[int], str] | None) -> list[str]:
    """p0, p1, ...: words of the probabilities, and total: that of the sum's eighth.

    seen  the text of an entry's condition: what has to be below what
    """
    entries = range(scores.columns)
    top = softmax_octaves(scores.columns)
    lines = [_at("from_", scores), f"most = int32({LEAST})"]
    for j in entries:
        lines.append(f"l{j} = load32(sm, from_, {scores.offset + 4 * j})")
        value = f"l{j}" if seen is None else f"select_lt({seen(j)}, l{j}, {LEAST})"
        lines.append(f"most = max32(most, {value})")
    lines.append("total = int32(0)")
    for j in entries:
        distance = f"sar32(min32(sub32(most, l{j}), {FARTHEST}), 2)"
        lines.append(f"p{j} = mul32({distance}, {-STEP})")
        lines.append(tables.product("v", f"add32(p{j}, add32(lane4, {word(octaves(top))}))"))
        value = "v" if seen is None else f"select_lt({seen(j)}, v, 0)"
        lines.append(f"total = add32(total, {value})")
    lines += tables.code("total", "total", SUM_SHIFT)
    lines.append(f"total = sub32(total, {word(octaves(top - SUM_SHIFT))})")
    for j in entries:
        value = f"sub32(p{j}, total)"
        if seen is not None:
            value = f"select_lt({seen(j)}, {value}, {SILENT_WORD})"
        lines.append(f"p{j} = {value}")
    return lines


def attention_weights(tables: Tables, scores: Field, weights: Field, causal: bool) -> list[str]:
    """The words of the softmax of each row of scores; a row's number modulo the columns is its
    position."""
    n = scores.columns

    def body() -> list[str]:
        lines = [f"position = urem32(row, {n})"] if causal else []
        seen = (lambda j: f"{j - 1}, position") if causal else None
        lines += [*_words(tables, scores, seen), _at("to", weights)]
        for j in range(n):
            lines += _store("to", weights, j, f"p{j}")
        return lines

    return each_row(scores.rows, body)


def cross_entropy(
    tables: Tables, logits: Field, target: Field, gradient: Field, answers: Field
) -> list[str]:
    """Words of the gradient; loss, hits, counted and active grow by what the lane's row has.

    target   (1, rows), below 0 where it does not count
    answers  (1, rows), the likeliest id of each row
    """
    n = logits.columns

    def body() -> list[str]:
        lines = [*_words(tables, logits, None), _at("to", gradient)]
        lines.append(f"target = load32(sm, add32(w, mul32(row, 4)), {target.offset})")
        lines += ["right = p0", "best = int32(0)", "largest = l0"]
        for j in range(1, n):
            lines.append(f"right = select_lt(eq32(target, {j}), 1, right, p{j})")
            lines.append(f"best = select_lt(largest, l{j}, {j}, best)")
            lines.append(f"largest = max32(largest, l{j})")
        one = word(octaves(LOSS_OCTAVES))
        lines.append(tables.product("lack", f"add32(right, add32(lane4, {one}))"))
        lines.append(f"lack = min32(0, sub32(lack, {1 << LOSS_OCTAVES}))")
        lines += tables.code("missing", "lack")
        lines += [
            "counts = select_lt(target, 0, 0, own)",
            f"sends = select_lt(lack, {-NEGLIGIBLE}, counts, 0)",
        ]
        for j in range(n):
            value = f"select_lt(eq32(target, {j}), 1, add32(p{j}, {one}), missing)"
            value = f"select_lt(0, sends, {value}, {SILENT_WORD})"
            lines += _store("to", gradient, j, value)
        return [
            *lines,
            f"loss = sub32(loss, mul32(counts, floordiv32(mul32(right, 2), {STEP})))",
            "hits = add32(hits, mul32(counts, eq32(best, target)))",
            "counted = add32(counted, counts)",
            "active = add32(active, sends)",
            f"to = select_lt(0, own, add32(w, mul32(row, 4)), sub32(spare, {answers.offset}))",
            f"store32(sm, to, {answers.offset}, best)",
        ]

    return each_row(logits.rows, body)


def scores_gradient(
    tables: Tables,
    gradient: Field,
    weights: Field,
    forms: Sequence[tuple[Field, int | None, bool]],
    *,
    score_constant: int,
    most: int,
    saturates: bool,
) -> list[str]:
    """From dy . v of each score to the gradient of the score, clipped twice."""
    entries = range(gradient.columns)

    def body() -> list[str]:
        lines = [_at("from_", gradient), _at("other", weights), "mean = int32(0)"]
        for j in entries:
            lines.append(f"g{j} = load32(sm, from_, {gradient.offset + 4 * j})")
            lines.append(f"p{j} = add32(load32(sm, other, {weights.offset + 4 * j}), lane4)")
            lines += tables.code("c", f"g{j}", 0, saturates)
            lines.append(tables.product("v", f"add32(c, p{j})"))
            lines.append("mean = add32(mean, v)")
        lines += [_at(f"to{f}", field) for f, (field, _, _) in enumerate(forms)]
        for j in entries:
            spread = f"low16(sub32(g{j}, low16(mean)))"
            lines += tables.code("c", f"clamp32({spread}, {-MOST_SPREAD}, {MOST_SPREAD})")
            total = f"add32(c, add32(p{j}, {word(score_constant)}))"
            lines.append(tables.product("v", total))
            lines.append(f"x = clamp32(v, {-most}, {most})")
            for f, (field, shift, clipped) in enumerate(forms):
                stored = "x"
                if shift is not None:
                    lines += tables.code("c", "x", shift, clipped)
                    stored = "c"
                lines += _store(f"to{f}", field, j, stored)
        return lines

    return each_row(gradient.rows, body)

"""LogStep -> the lines of each op, and where its values lie in a warp's shared memory.

A value is kept in the forms in which it is read: the linear integer, or the word of its code after
a shift.  Forms that are never needed together share memory.

To add a contract: a case in `_lower`, its kernel in kernels/cuda/training/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anachron.compiler.logarithms import LogOp, LogStep
from anachron.compiler.targets.cuda.training.codes import (
    find_codes,
    find_op_scale,
    is_clipped,
    make_scale,
)
from anachron.kernels.cuda.training import elements, softmax, update
from anachron.kernels.cuda.training.grid import Field, View
from anachron.kernels.cuda.training.products import Job, Pair, Scale, SinkOf, contract, to_field
from anachron.kernels.cuda.training.tables import INTEGER_CODES, Tables
from anachron.kernels.reference.log_gradients import MOST_SPREAD
from anachron.kernels.reference.log_tables import magnitude_code

Span = tuple[str, int, int]  # a parameter, or "" and bytes of shared memory
Form = tuple[int, bool] | None  # shift and saturation of a code; None as it is
WORDS = 4
SPREAD_CODES = tuple(code for code in INTEGER_CODES if code <= magnitude_code(MOST_SPREAD))
MOST_LINES = 60_000  # of a step's text, beyond which it is no kernel for one warp


@dataclass(frozen=True)
class Lines:
    """An op's text; barrier: all lanes wait before it."""

    op: LogOp
    lines: list[str]
    barrier: bool


def _span(field: Field) -> Span:
    return "", field.offset, field.offset + field.n_bytes


def _meet(some: set[Span], others: set[Span]) -> bool:
    """Whether two stretches have a byte in common."""
    return any(
        a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in some for b in others
    )


def order_updates(log: LogStep) -> tuple[LogOp, ...]:
    """The backward ops, and each update as soon as its gradient is there and its old weights are
    read no more: so that what it reads can be forgotten."""
    order: list[LogOp] = []
    waiting = list(log.updates)
    for i, op in enumerate(log.backward):
        order.append(op)
        ready = {log.loss.name, *(done.name for done in log.backward[: i + 1])}
        later = {name for other in log.backward[i + 1 :] for name in other.reads.values()}
        for done in [u for u in waiting if u.reads["dy"] in ready and u.name not in later]:
            order.append(done)
            waiting.remove(done)
    return (*order, *waiting)


class StepLowering:
    """The ops of a step, and the memory of a warp."""

    def __init__(self, log: LogStep, others: Sequence[LogStep] = ()) -> None:
        self.log, self.logs = log, (log, *others)
        model = log.step.model
        self.n, self.n_ids = model.seq_len, model.vocab_size
        self.back = order_updates(log)
        self.ops = (*log.forward, log.loss, *self.back)
        self.weights: dict[str, int] = {}
        end = 0
        for name, (rows, columns) in self._shapes().items():
            self.weights[name] = end
            end += WORDS * rows * columns
        self.spare = end  # 32 words that nobody reads
        end = self.spare + WORDS * 32
        self.weight_bytes = -(-end // 128) * 128
        self.sizes: dict[str, tuple[int, int]] = {}
        self.heads: dict[str, tuple[int, int]] = {}
        self.made = {op.name: i for i, op in enumerate(self.ops) if op not in log.updates}
        for name in self.made:
            self.sizes[name] = self._size(self.ops[self.made[name]])
        self.tables = Tables()
        self._place()

    def _shapes(self) -> dict[str, tuple[int, int]]:
        """Every parameter as a matrix: a bias is one row."""
        shapes = self.log.step.model.shapes
        return {n: (1, *s) if len(s) == 1 else (s[0], s[1]) for n, s in shapes.items()}

    def shape(self, parameter: str) -> tuple[int, int]:
        return self._shapes()[parameter]

    # ---- sizes

    def _size(self, op: LogOp) -> tuple[int, int]:
        n, reads = self.n, op.reads
        match op.contract:
            case "embed":
                return n, self.shape(reads["table"])[1]
            case "linear":
                return n, self.shape(reads["weight"])[0]
            case "linear_gradient":
                return n, self.shape(reads["weight"])[1]
            case "add":
                return self.sizes[reads["a"]]
            case "add_bias" | "relu" | "relu_gradient":
                return self.sizes[reads["x"]]
            case "cross_entropy":
                return n, self.n_ids
            case "attention_weights" | "attention_scores_gradient":
                return int(op.attributes["heads"]) * n, n
            case "attention":
                return n, self.sizes[reads["v"]][1] // self._kv(op) * self._h(op)
            case "attention_q_gradient":
                return n, self.sizes[reads["k"]][1] // self._kv(op) * self._h(op)
            case "attention_k_gradient":
                return n, self.sizes[reads["q"]][1] // self._h(op) * self._kv(op)
            case "attention_v_gradient":
                return n, self.sizes[reads["dy"]][1] // self._h(op) * self._kv(op)
        raise ValueError(f"{op.name}: training on a GPU has no {op.contract}")

    @staticmethod
    def _h(op: LogOp) -> int:
        return int(op.attributes["heads"])

    @staticmethod
    def _kv(op: LogOp) -> int:
        return int(op.attributes["kv_heads"])

    # ---- memory

    def _forms(self) -> tuple[dict[tuple[str, Form], int], dict[tuple[str, Form], int]]:
        """(value, form) -> when it is made, and when it is read last."""
        made = self.made
        first: dict[tuple[str, Form], int] = {}
        last: dict[tuple[str, Form], int] = {}
        for i, op in enumerate(self.ops):
            for role, name in op.reads.items():
                if name in made:
                    key = name, self._form(op, role)
                    first.setdefault(key, made[name])
                    last[key] = i
            if op is self.log.loss:  # read when it is over
                last.setdefault((op.name, None), i)
                first.setdefault((op.name, None), i)
        return first, last

    @staticmethod
    def _form(op: LogOp, role: str) -> Form:
        return (op.coded[role], op.saturates) if role in op.coded else None

    def _place(self) -> None:
        """Lay out what stays, then every form and every op's scores where there is room."""
        self.fields: dict[tuple[str, Form], Field] = {}
        end = 0

        def reserve(rows: int, columns: int) -> Field:
            nonlocal end
            field = Field(end, rows, columns)
            end += field.n_bytes
            return field

        self.dump = reserve(1, 32)
        self.tokens, self.targets, self.answers = (reserve(1, self.n) for _ in range(3))
        self.codes: dict[str, Field] = {}
        self.code_form: dict[str, bool] = {}
        for op in self.ops:
            name = op.reads.get("weight", "")
            if "weight" in op.coded and name not in self.codes:
                self.codes[name] = reserve(*self.shape(name))
                self.code_form[name] = op.saturates
        first, last = self._forms()
        wanted = [(first[key], last[key], key, self.sizes[key[0]]) for key in first]
        for i, op in enumerate(self.ops):
            if op.contract in ("attention_weights", "attention_scores_gradient"):
                wanted.append((i, i, (f"{op.name}.sums", None), self.sizes[op.name]))
        placed: list[tuple[int, int, int, int]] = []  # start, end, first and last use
        most = end
        for begins, ends, key, (rows, columns) in sorted(wanted, key=lambda w: (w[0], w[1])):
            size = Field(0, rows, columns).n_bytes
            at = end
            for start, stop, since, until in sorted(placed):
                if until >= begins and since <= ends and start < at + size and at < stop:
                    at = stop
            placed.append((at, at + size, begins, ends))
            self.fields[key] = Field(at, rows, columns)
            most = max(most, at + size)
        self.warp_bytes = -(-most // 128) * 128

    def sink(self, op: LogOp, rows: int = 0, columns: int = 0) -> SinkOf:
        """Where an op's value goes, in every form that is read; from an element on."""
        forms = self._targets(op)
        return to_field(self.tables, forms, rows, columns)

    def _targets(self, op: LogOp) -> list[tuple[Field, int | None, bool]]:
        found = [(form, field) for (name, form), field in self.fields.items() if name == op.name]
        return [(f, None, False) if form is None else (f, *form) for form, f in found]

    def read(self, op: LogOp, role: str) -> Field:
        name = op.reads[role]
        if name in self.codes and role in op.coded:
            return self.codes[name]
        return self.fields[name, self._form(op, role)]

    def _touches(self, op: LogOp) -> tuple[set[Span], set[Span]]:
        """What an op reads and what it writes: stretches of shared memory, and weights."""
        given = {"token": self.tokens, "target": self.targets}
        reads: set[Span] = set()
        for role, name in op.reads.items():
            if name in given:
                reads.add(_span(given[name]))
            elif name in self.made or name in self.codes and role in op.coded:
                reads.add(_span(self.read(op, role)))
            elif name in self.weights:
                reads.add((name, 0, 1))
        if op.name in self.weights:
            writes: set[Span] = {(op.name, 0, 1)}
            if op.name in self.codes:
                writes.add(_span(self.codes[op.name]))
            return reads, writes
        writes = {_span(field) for field, _, _ in self._targets(op)}
        if (sums := (f"{op.name}.sums", None)) in self.fields:
            writes.add(_span(self.fields[sums]))
        if op is self.log.loss:
            writes |= {_span(self.fields[op.name, None]), _span(self.answers)}
        return reads, writes

    # ---- ops

    def lower(self, ops: tuple[LogOp, ...]) -> list[Lines]:
        lowered: list[Lines] = []
        read: set[Span] = set()  # since the last barrier
        written: set[Span] = set()
        for op in ops:
            reads, writes = self._touches(op)
            barrier = _meet(reads, written) or _meet(writes, read | written)
            if barrier:
                read, written = set(), set()
            read, written = read | reads, written | writes
            lowered.append(Lines(op, self._lower(op), barrier))
        total = sum(len(item.lines) for item in lowered)
        if total > MOST_LINES:
            raise ValueError(
                f"{self.log.step.model.name}: a step has {total:,} lines, a warp takes "
                f"{MOST_LINES:,}: train a smaller model on a GPU"
            )
        return lowered

    def _lower(self, op: LogOp) -> list[str]:
        tables, a = self.tables, op.attributes
        match op.contract:
            case "embed":
                index = self.tokens if op.reads["index"] == "token" else None
                table = op.reads["table"]
                columns = self.shape(table)[1]
                return elements.embed(index, self.weights[table], self.n, columns, self.sink(op))
            case "add":
                x, y = self.read(op, "a"), self.read(op, "b")
                return elements.add(x, y, a["a_shift"], a["b_shift"], self.sink(op))
            case "add_bias":
                bias = self.weights[op.reads["bias"]]
                return elements.add_bias(self.read(op, "x"), bias, a["bias_shift"], self.sink(op))
            case "relu":
                return elements.relu(self.read(op, "x"), self.sink(op))
            case "relu_gradient":
                dy, x = self.read(op, "dy"), self.read(op, "x")
                return elements.relu_gradient(dy, x, self.sink(op))
            case "linear":
                x, w = self.read(op, "x"), self.read(op, "weight")
                return self._multiply(op, x.view, w.view, (self.n, w.rows, w.columns))
            case "linear_gradient":
                dy, w = self.read(op, "dy"), self.read(op, "weight")
                return self._multiply(op, dy.view, w.turned, (self.n, w.columns, w.rows))
            case "cross_entropy":
                logits, gradient = self.read(op, "logits"), self.fields[op.name, None]
                return softmax.cross_entropy(tables, logits, self.targets, gradient, self.answers)
            case "update_matrix" | "update_table" | "update_rows" | "update_bias":
                return self._update(op)
        return self._attention(op)

    def _multiply(self, op: LogOp, a: View, b: View, size: tuple[int, int, int]) -> list[str]:
        """Rows of a by rows of b; size is rows, columns, terms."""
        job = Job((Pair(a, b, find_op_scale(self.log, op)),), self.sink(op))
        return contract(self.tables, [job], *size)

    def _attention(self, op: LogOp) -> list[str]:
        tables, a, n = self.tables, op.attributes, self.n
        heads, kv_heads = self._h(op), self._kv(op)
        group = heads // kv_heads
        scale = find_op_scale(self.log, op)
        lines: list[str] = []
        match op.contract:
            case "attention_weights" | "attention_scores_gradient":
                forward = op.contract == "attention_weights"
                left, right = ("q", "k") if forward else ("dy", "v")
                scale = make_scale(int(a["constant"]), INTEGER_CODES, INTEGER_CODES)
                q, k = self.read(op, left), self.read(op, right)
                size, sums = q.columns // heads, self.fields[f"{op.name}.sums", None]
                for h in range(heads):
                    views = q.view.part(0, h * size), k.view.part(0, h // group * size)
                    sink = to_field(tables, [(sums, None, False)], h * n, 0)
                    lines += contract(tables, [Job((Pair(*views, scale),), sink)], n, n, size)
                lines.append("cuda.syncwarp()")
                if forward:
                    weights = self.fields[op.name, None]
                    return lines + softmax.attention_weights(tables, sums, weights, a["causal"])
                shares = find_codes(self.log, op.reads["weights"])
                return lines + softmax.scores_gradient(
                    tables,
                    sums,
                    self.read(op, "weights"),
                    self._targets(op),
                    mean=make_scale(0, INTEGER_CODES, shares),
                    score=make_scale(a["score_constant"], SPREAD_CODES, shares),
                    most=a["most"],
                    saturates=a["saturates"],
                )
            case "attention" | "attention_q_gradient":
                p, v = ("weights", "v") if op.contract == "attention" else ("scores", "k")
                weights, value = self.read(op, p), self.read(op, v)
                size = value.columns // kv_heads
                for h in range(heads):
                    views = weights.view.part(h * n), value.turned.part(h // group * size)
                    sink = self.sink(op, 0, h * size)
                    lines += contract(tables, [Job((Pair(*views, scale),), sink)], n, size, n)
                return lines
        p, v = ("scores", "q") if op.contract == "attention_k_gradient" else ("weights", "dy")
        weights, value = self.read(op, p), self.read(op, v)
        size = value.columns // heads
        for kv in range(kv_heads):
            pairs = [
                Pair(weights.turned.part(0, h * n), value.turned.part(h * size), scale)
                for h in range(kv * group, (kv + 1) * group)
            ]
            sink = self.sink(op, 0, kv * size)
            lines += contract(tables, [Job(tuple(pairs), sink)], n, size, n)
        return lines

    def _update(self, op: LogOp) -> list[str]:
        tables, dy = self.tables, self.read(op, "dy")
        rows, columns = self.shape(op.name)
        codes, saturates = self.codes.get(op.name), self.code_form.get(op.name, False)
        sink = update.from_weights(
            tables, self.weights[op.name], columns, codes, saturates, self.spare
        )
        number = next(i for i, other in enumerate(self.log.updates) if other is op)
        rate = WORDS * update.RATE_WORDS * number
        scale = Scale(update.load_rate(rate), is_clipped(self.logs, number))
        index = self.tokens if op.reads.get("index") == "token" else None
        match op.contract:
            case "update_matrix":
                x = self.read(op, "x")
                job = Job((Pair(dy.turned, x.turned, scale),), sink)
                return contract(tables, [job], dy.columns, x.columns, dy.rows)
            case "update_bias":
                return update.update_bias(dy, scale, sink)
            case "update_table":
                return update.update_table(dy, index, rows, rate, sink)
        return update.update_rows(dy, index, rows, scale, sink)

    def encode(self) -> list[str]:
        """Codes of the start weights."""
        lines: list[str] = []
        for name, field in self.codes.items():
            at, columns = self.weights[name], field.columns
            lines += elements.embed(
                None,
                at,
                field.rows,
                columns,
                to_field(self.tables, [(field, 0, self.code_form[name])]),
            )
        return lines

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
from anachron.compiler.targets.cuda.training.fusion import fuse_sums, order_updates
from anachron.compiler.targets.cuda.training.sizes import as_matrices, find_size
from anachron.kernels.cuda.places import WARP
from anachron.kernels.cuda.training import elements, softmax, update
from anachron.kernels.cuda.training.grid import VECTOR, Field
from anachron.kernels.cuda.training.products import (
    Job,
    Pair,
    Scale,
    SinkOf,
    contract,
    plus,
    to_field,
)
from anachron.kernels.cuda.training.tables import INTEGER_CODES, Tables
from anachron.kernels.reference.log_gradients import MOST_SPREAD
from anachron.kernels.reference.log_tables import magnitude_code

Span = tuple[str, int, int]  # a parameter, or "" and bytes of shared memory
Form = tuple[int, bool] | None  # shift and saturation of a code; None as it is
WORDS = 4
SPREAD_CODES = tuple(code for code in INTEGER_CODES if code <= magnitude_code(MOST_SPREAD))
SHARING = ("linear", "update_matrix")  # contracts that read an x with others
MOST_SHARING = 4
MOST_LINES = 60_000  # of a step's text, beyond which it is no kernel for one warp


@dataclass(frozen=True)
class Lines:
    """The text of ops that go together; barrier: all lanes wait before it."""

    ops: tuple[LogOp, ...]
    lines: list[str]
    barrier: bool


def _span(field: Field) -> Span:
    return "", field.offset, field.offset + field.n_bytes


def _meet(some: set[Span], others: set[Span]) -> bool:
    """Whether two stretches have a byte in common."""
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in some for b in others)


class StepLowering:
    """The ops of a step, and the memory of a warp."""

    def __init__(self, log: LogStep, others: Sequence[LogStep] = ()) -> None:
        self.log, self.logs = log, (log, *others)
        model = log.step.model
        self.n, self.n_ids = model.seq_len, model.vocab_size
        self.forward, backward = fuse_sums(log)
        self.back = order_updates(log, backward)
        self.ops = (*self.forward, log.loss, *self.back)
        self.weights: dict[str, int] = {}
        end = 0
        for name, (rows, columns) in as_matrices(model).items():
            self.weights[name] = end
            end += WORDS * VECTOR * -(-rows * columns // VECTOR)
        self.spare = end  # 32 words that nobody reads
        end = self.spare + WORDS * WARP * VECTOR
        self.weight_bytes = -(-end // 128) * 128
        self.sizes: dict[str, tuple[int, int]] = {}
        self.made = {op.name: i for i, op in enumerate(self.ops) if op not in log.updates}
        for name in self.made:
            self.sizes[name] = find_size(self.ops[self.made[name]], model, self.sizes)
        self.tables = Tables()
        self._place()

    def shape(self, parameter: str) -> tuple[int, int]:
        return as_matrices(self.log.step.model)[parameter]

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

        self.dump = reserve(1, WARP * VECTOR)
        self.tokens, self.targets, self.answers = (reserve(1, self.n) for _ in range(3))
        self.codes: dict[str, Field] = {}
        self.code_form: dict[str, bool] = {}
        for op in self.ops:
            for name in (n for role, n in op.reads.items() if role in op.coded):
                if name in self.weights and name not in self.codes:
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

    def sink(self, op: LogOp, rows: int = 0, columns: int = 0, tag: str = "") -> SinkOf:
        """Where an op's value goes, in every form that is read; from an element on."""
        forms = self._targets(op)
        return to_field(self.tables, forms, rows, columns, tag)

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
        for group in self._group(ops):
            touched = [self._touches(op) for op in group]
            reads = {span for spans, _ in touched for span in spans}
            writes = {span for _, spans in touched for span in spans}
            barrier = _meet(reads, written) or _meet(writes, read | written)
            if barrier:
                read, written = set(), set()
            read, written = read | reads, written | writes
            lowered.append(Lines(group, self._lower_group(group), barrier))
        total = sum(len(item.lines) for item in lowered)
        if total > MOST_LINES:
            raise ValueError(
                f"{self.log.step.model.name}: a step has {total:,} lines, a warp takes "
                f"{MOST_LINES:,}: train a smaller model on a GPU"
            )
        return lowered

    def _group(self, ops: tuple[LogOp, ...]) -> list[tuple[LogOp, ...]]:
        """Products of matrices that read the same come together, if none needs another."""
        groups: list[tuple[LogOp, ...]] = []
        for op in ops:
            last = groups[-1] if groups else ()
            same = last and op.contract == last[0].contract and op.contract in SHARING
            if same and op.reads["x"] == last[0].reads["x"] and self._goes_with(op, last):
                groups[-1] = (*last, op)
            else:
                groups.append((op,))
        return groups

    def _goes_with(self, op: LogOp, others: tuple[LogOp, ...]) -> bool:
        if self._product(op)[1:] != self._product(others[0])[1:] or len(others) == MOST_SHARING:
            return False
        reads, writes = self._touches(op)
        return not any(
            _meet(writes, (touched := self._touches(other))[0] | touched[1])
            or _meet(reads, touched[1])
            for other in others
        )

    def _lower_group(self, group: tuple[LogOp, ...]) -> list[str]:
        if group[0].contract not in (*SHARING, "linear_gradient"):
            (op,) = group
            return self._lower(op)
        products = [self._product(op, f"{j}_") for j, op in enumerate(group)]
        return contract(self.tables, [job for job, *_ in products], *products[0][1:])

    def _product(self, op: LogOp, tag: str = "") -> tuple[Job, int, int, int]:
        """A product of matrices: the job, and its rows, columns and terms."""
        if op.contract == "update_matrix":
            dy, x = self.read(op, "dy"), self.read(op, "x")
            scale = Scale(*self._rate(op))
            pair = Pair(dy.turned, x.turned, scale)
            return Job((pair,), self._update_sink(op, tag)), dy.columns, x.columns, dy.rows
        pair, *size = self._pair(op, op, "")
        return Job((pair,), self.sink(op, tag=tag)), size[0], size[1], size[2]

    def _pair(self, op: LogOp, part: LogOp, prefix: str) -> tuple[Pair, int, int, int]:
        """Of a linear or its gradient, which an op reads under a prefix."""
        w = self.read(op, f"{prefix}weight")
        scale = find_op_scale(self.log, part)
        if part.contract == "linear":
            x = self.read(op, f"{prefix}x")
            return Pair(x.view, w.view, scale), self.n, w.rows, w.columns
        dy = self.read(op, f"{prefix}dy")
        return Pair(dy.view, w.turned, scale), self.n, w.columns, w.rows

    def _sum(self, op: LogOp) -> list[str]:
        """What its parts give, and what is added to it."""
        parts, shifts = op.attributes["parts"], op.attributes["shifts"]
        addends = [(self.read(op, f"+{j}"), shift) for j, shift in enumerate(shifts)]
        if parts and parts[0].contract == "attention":
            return self._attention(parts[0], op, addends)
        sink = plus(self.sink(op), addends)
        if not parts:
            return elements.nothing(*self.sizes[op.name], sink)
        if parts[0].contract == "embed":
            rows, columns = self.sizes[op.name]
            return elements.embed([self._table(part) for part in parts], rows, columns, sink)
        pairs = [self._pair(op, part, f"{i}.") for i, part in enumerate(parts)]
        job = Job(tuple(pair for pair, *_ in pairs), sink)
        return contract(self.tables, [job], *pairs[0][1:])

    def _lower(self, op: LogOp) -> list[str]:
        tables, a = self.tables, op.attributes
        match op.contract:
            case "embed":
                return elements.embed([self._table(op)], *self.sizes[op.name], self.sink(op))
            case "sum":
                return self._sum(op)
            case "add_bias":
                bias = self.weights[op.reads["bias"]]
                return elements.add_bias(self.read(op, "x"), bias, a["bias_shift"], self.sink(op))
            case "relu":
                return elements.relu(self.read(op, "x"), self.sink(op))
            case "relu_gradient":
                dy, x = self.read(op, "dy"), self.read(op, "x")
                return elements.relu_gradient(dy, x, self.sink(op))
            case "cross_entropy":
                logits, gradient = self.read(op, "logits"), self.fields[op.name, None]
                return softmax.cross_entropy(tables, logits, self.targets, gradient, self.answers)
            case "update_table" | "update_rows" | "update_bias":
                return self._update(op)
        return self._attention(op, op, [])

    def _table(self, op: LogOp) -> tuple[Field | None, int]:
        """Of an embedding: where the indices are, None for positions, and the weights."""
        index = self.tokens if op.reads["index"] == "token" else None
        return index, self.weights[op.reads["table"]]

    def _attention(
        self, op: LogOp, owner: LogOp, addends: list[tuple[Field, int]]
    ) -> list[str]:
        """owner: the op whose value it is, with what is added to it."""
        tables, a, n = self.tables, op.attributes, self.n
        heads, kv_heads = int(a["heads"]), int(a["kv_heads"])
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
                prefix = "" if op is owner else "0."
                weights, value = (self.read(owner, prefix + role) for role in (p, v))
                size = value.columns // kv_heads
                for h in range(heads):
                    views = weights.view.part(h * n), value.turned.part(h // group * size)
                    sink = plus(self.sink(owner, 0, h * size), addends, 0, h * size)
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
        dy, sink = self.read(op, "dy"), self._update_sink(op)
        rows, _ = self.shape(op.name)
        text, clipped = self._rate(op)
        index = self.tokens if op.reads.get("index") == "token" else None
        match op.contract:
            case "update_bias":
                return update.update_bias(dy, Scale(text, clipped), sink)
            case "update_table":
                return update.update_table(dy, index, rows, self._rate_at(op), sink)
        return update.update_rows(dy, index, rows, Scale(text, clipped), sink)

    def _rate_at(self, op: LogOp) -> int:
        """Bytes from where a training's row of scales begins."""
        number = next(i for i, other in enumerate(self.log.updates) if other is op)
        return WORDS * update.RATE_WORDS * number

    def _rate(self, op: LogOp) -> tuple[str, bool]:
        """What an update's products are multiplied by, and whether some are beyond the largest."""
        at = self._rate_at(op)
        return update.load_rate(at), is_clipped(self.logs, at // (WORDS * update.RATE_WORDS))

    def _update_sink(self, op: LogOp, tag: str = "") -> SinkOf:
        codes, saturates = self.codes.get(op.name), self.code_form.get(op.name, False)
        _, columns = self.shape(op.name)
        return update.from_weights(
            self.tables, self.weights[op.name], columns, codes, saturates, self.spare, tag
        )

    def encode(self) -> list[str]:
        """Codes of the start weights."""
        lines: list[str] = []
        for name, field in self.codes.items():
            at, columns = self.weights[name], field.columns
            sink = to_field(self.tables, [(field, 0, self.code_form[name])])
            lines += elements.embed([(None, at)], field.rows, columns, sink)
        return lines

"""Matrices -> calls of 6502 kernels whose rows come from the RAM Expansion Unit.

The base of streaming.py: the expansion, and the memory that rows come to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.expanded import Expansion
from anachron.compiler.targets.mos6502.lowering import ALL
from anachron.compiler.targets.mos6502.plan import Plan
from anachron.compiler.targets.mos6502.sections import Area, area
from anachron.compiler.targets.mos6502.shared_ops import SharedOps
from anachron.compiler.targets.mos6502.streamed_rows import (
    MOST_COLUMNS,
    ROW_PAGE,
    Run,
    Stream,
    plan_streams,
)
from anachron.compiler.targets.mos6502.streamed_screening import (
    COARSE,
    find_streamed_screening,
    with_coarse,
)
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502 import expansion, matvec
from anachron.kernels.mos6502.expansion import BLOCK
from anachron.kernels.mos6502.instructions import Vector, add, copy, lines, set_word
from anachron.kernels.mos6502.residue import guard
from anachron.kernels.mos6502.streamed import matvec as streamed_matvec
from anachron.kernels.mos6502.streamed import screen as streamed_screen
from anachron.kernels.mos6502.streamed import vector as streamed_vector
from anachron.kernels.mos6502.streamed.ends import End
from anachron.kernels.mos6502.streamed.matvec import Kernel

MOST_MEASURED = 128  # elements at a time


def _prepare(kernel: Kernel, x: Vector) -> str:
    return lines(
        set_word("source_low", x.low),
        set_word("source_high", x.high),
        f"    jsr {kernel.name}_prepare",
    )


@dataclass(frozen=True)
class Choice:
    """How much memory is spent on speed, and whether all logits are kept.

    most_columns  of a matrix whose rows run in residues
    quarters      there is room for gating.py's tables
    """

    most_columns: int = MOST_COLUMNS
    quarters: bool = True
    complete: bool = False


class MatrixStreaming(SharedOps):
    """As SharedOps, with an expansion that holds the matrices."""

    expansion: Expansion

    def __init__(self, values: Values, ranges: Ranges, choice: Choice) -> None:
        streams, reasons = plan_streams(values.fixed, ranges, choice.most_columns)
        self.quarters = choice.quarters
        self.likeliest = None
        if not choice.complete:
            self.likeliest = find_streamed_screening(values.fixed, ranges, streams)
        if self.likeliest:
            last = self.likeliest.op
            streams = tuple(with_coarse(s) if last in s.ops else s for s in streams)
        super().__init__(values, ranges, Plan(reasons=reasons))
        self.expansion = Expansion()
        self.stream_of = {op.name: stream for stream in streams for op in stream.ops}
        for stream in streams:
            self._place_stream(stream)

    def _place_stream(self, stream: Stream) -> None:
        """A kernel's code and tables."""
        kernel = stream.kernel
        routines = self.routines["matvec"]
        routines[f"{kernel.name}_prepare"] = streamed_vector.prepare(kernel)
        routines[f"{kernel.name}_rows"] = streamed_matvec.rows(kernel)
        self.anything |= streamed_matvec.jumps(kernel, kernel.ends[0])
        self._residue_tables()
        if kernel.looped:
            self._take_turns(ALL, {f"{kernel.name}_taken": kernel.columns * kernel.chains})
        if kernel.record == ROW_PAGE:
            self.areas[ROW_PAGE] = Area(ROW_PAGE, "buffer", ((0, 256),), 256)
        if kernel.chains == 4:
            small = kernel.small
            self._place_tables(f"residues {small}", streamed_matvec.tables(small))

    def _row_buffer(self, size: int) -> str:
        """The label of memory for a row."""
        known = self.areas.get("row_buffer")
        size = max(size, known.size if known else 0)
        self.areas["row_buffer"] = area("row_buffer", "buffer", size)
        return "row_buffer"

    def data_bytes(self, op: Op) -> int:
        stem = self.values.op(op) + "_"
        streamed = sum(o.size for o in self.expansion.placed if o.name == op.name)
        return streamed + sum(t.size for label, t in self.tables.items() if label.startswith(stem))

    def _matvec(self, op: Op, name: str) -> None:
        stream = self.stream_of.get(op.name)
        if stream is None:
            self.sequence[op.name] = self._general_rows(op, name)
            why = self.reasons.get(op.name) or "exact for any weights"
            self.variants[op.name] = ("streamed rows", f"32-bit sums: {why}")
            return
        kernel, runs = stream.kernel, stream.runs[op.name]
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        rows = [self._records(kernel, op, run) for run in runs]
        content = [record for records in rows for record in records]
        pieces = self.expansion.place_rows(op.name, content, "weights")
        if len(pieces) > 1:
            raise ValueError(f"{op.name}: more than {BLOCK:,} bytes of weights in one matrix")
        address, labels = pieces[0][0], []
        if self.likeliest and self.likeliest.op is op:
            self._seek_streamed(op, name, stream, address)
            return
        for number, run in enumerate(runs):
            label = f"{name}_run_{number}" if number else name
            prepare = ""
            if self._operands.get(kernel.name) != op.inputs[0]:
                self._operands[kernel.name] = op.inputs[0]
                prepare = _prepare(kernel, x)
            n_rows = len(run.rows)
            text = streamed_matvec.run(
                kernel, label, run.end, n_rows, address, out.at(run.base), prepare
            )
            self._emit(op, text)
            self.environments[label] = {
                "rows": n_rows,
                **streamed_matvec.jumps(kernel, run.end),
            }
            address += n_rows * kernel.record_bytes
            labels.append(label)
        if op.name in stream.limits:
            labels.append(self._look_after(op, name, stream.limits[op.name]))
        self.sequence[op.name] = labels
        self._explain(op, stream)

    def _seek_streamed(self, op: Op, name: str, stream: Stream, address: int) -> None:
        """The likeliest token alone."""
        assert self.likeliest is not None
        kernel, made, most = stream.kernel, self.likeliest.screen, self.likeliest.most
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        size, labels = x.size, [name]
        self._take_turns("screen", {f"{name}_narrow": 2 * size})
        low = f"{name}_narrow"
        short = Vector(low, f"{low}+{size}", size, 16)
        self._emit(op, lines(f"{name}:", streamed_screen.narrow(x, short, made.down), "    rts"))
        runs, found = stream.runs[op.name], dict[int, tuple[int, int]]()
        rest: list[str] = []
        pages: list[streamed_screen.Page] = []
        for number, run in enumerate(runs):
            first, n_rows = found.get(run.base, (address, 0))
            found[run.base] = first, n_rows + len(run.rows)
            label = f"{name}_exact_of_{run.base}" if run.end == most else f"{name}_rest_{number}"
            n = 1 if run.end == most else len(run.rows)
            self._stream_run(op, kernel, label, run.end, n, address, out.at(run.base), "")
            if run.end == most:
                others = [r.rows - r.base for r in runs if r.base == run.base and r.end != most]
                places = np.sort(np.concatenate([np.zeros(0, np.int64), *others]))
                n_page = min(256, out.size - run.base)
                least = max(0, self.values.fixed.generation.first_id - run.base)
                pages.append(
                    streamed_screen.Page(run.base, n_page, least, label, address, places)
                )
            else:
                rest.append(label)
            address += len(run.rows) * kernel.record_bytes
        for number, (base, (first, n_rows)) in enumerate(found.items()):
            label = f"{name}_coarse_of_{base}"
            prepare = _prepare(kernel, short) if not number else ""
            self._stream_run(op, kernel, label, COARSE, n_rows, first, out.at(base), prepare)
            labels.append(label)
        seek = f"{name}_seek"
        text = streamed_screen.seek(seek, made, pages, out, self.token_bytes == 2)
        self._emit(op, lines(f"{name}_likeliest:", _prepare(kernel, x), text))
        self.environments[f"{name}_likeliest"] = {
            "rows": 1,
            "records": (1, min(out.size, 256) / 2, 256),
            "exact_rows": min(self.likeliest.exact / out.size, 1.0),
            **streamed_matvec.jumps(kernel, most),
        }
        self.anything |= {"exact_rows": 0.01, "records": 1}
        self._operands.pop(kernel.name, None)
        labels += [f"{name}_likeliest", *rest]
        self.sequence[op.name] = [*labels, f"{seek}_others"] if rest else labels
        self.chooses = True
        self._explain(op, stream)
        variant, why = self.variants[op.name]
        rows = f"about {self.likeliest.exact:.0f} rows of {out.size}, besides those that end "
        rows += "otherwise: by two chains of x in fewer bits they may be the largest"
        self.variants[op.name] = (variant, f"{rows}; {why}")

    def _stream_run(
        self, op: Op, kernel: Kernel, label: str, e: End, n: int, at: int, out: Vector, first: str
    ) -> None:
        """The routine `label`: a run, and what its time is by."""
        self._emit(op, streamed_matvec.run(kernel, label, e, n, at, out, first))
        self.environments[label] = {"rows": n, **streamed_matvec.jumps(kernel, e)}

    def _records(self, kernel: Kernel, op: Op, run: Run) -> list[bytes]:
        """A run's rows as the expansion holds them."""
        weight, bias = op.constants["weight"][run.rows], op.constants["bias"][run.rows]
        return streamed_matvec.records(kernel, weight, bias, run.rows - run.base)

    def _explain(self, op: Op, stream: Stream) -> None:
        bounds = self.ranges.accumulators[op.name]["rows"]
        runs = stream.runs[op.name]
        chains = sorted({run.end.chains for run in runs})
        many = " or ".join(map(str, chains))
        _, most = streamed_matvec.reach(chains[-1], stream.kernel.small)
        why = f"sums proven within {int(np.max(bounds)):,} of 0; they may reach {most:,}"
        if op.name in stream.limits:
            why = f"while the input's length keeps sums within {most:,}; else 32-bit sums again"
        moduli = ", ".join(map(str, stream.kernel.moduli[: chains[-1]]))
        self.variants[op.name] = (
            f"streamed residues {moduli}",
            f"{many} chains a row, {len(runs)} runs: {why}",
        )

    def _look_after(self, op: Op, name: str, limit: int) -> str:
        """The label of a routine that does a matrix again where its input is too long."""
        self._squares()
        label, x = f"{name}_check", self.values.vector(op.inputs[0])
        (again,) = self._general_rows(op, f"{name}_general")
        one = -(-x.size // 2) if x.size > MOST_MEASURED else x.size
        two = x.size - one
        text = [
            f"{label}:",
            set_word("source_low", x.low),
            set_word("source_high", x.high),
            f"    ldy #{one - 1}\n    jsr measure",
        ]
        if two:
            text += [
                copy("correction", "sum_a", 4),
                set_word("source_low", f"{x.low}+{one}"),
                set_word("source_high", f"{x.high}+{one}"),
                f"    ldy #{two - 1}\n    jsr measure",
                add("sum_a", "correction", 4, 4),
            ]
        text.append(guard.check(limit))
        text.append(f"    bcc _long           ;@ p=too_long\n    rts\n_long:\n    jmp {again}")
        self._emit(op, lines(*text))
        elements = (two, (one + two) / 2, one) if two else one
        self.environments[label] = {
            **self.environments[again],
            **self._count(label, chances.measured, op.inputs[0]),
            **self._count(label, chances.guarded, op, [limit]),
            "elements": elements,
        }
        self.anything |= self.environments[label]
        return label

    def _general_rows(self, op: Op, name: str) -> list[str]:
        """Labels of the general kernel's calls, rows fetched."""
        (x,) = self._inputs(op)
        out = self.values.vector(op.name)
        columns, bits = x.size, x.bits
        shift, rows = self._pack_rows(op)
        record = len(rows[0])
        pieces = self.expansion.place_rows(op.name, rows, "weights")
        shape = (op.inputs[0], columns, bits)
        spare = op.name in self.stream_of  # and rarely called: it prepares its vector itself
        prepared = self._prepared == shape and not spare
        self._prepared = None if spare else shape
        buffer = self._row_buffer(record)
        fetch = expansion.move(expansion.FETCH, buffer, record)
        self._general_routines(op, columns, bits, out.bits, fetch)
        labels, first = [], 0
        for number, (address, n_rows) in enumerate(pieces):
            part = name if number == 0 else f"{name}_{number}"
            target = replace(out.at(first), size=n_rows)
            place = expansion.point(address)
            self._emit(op, matvec.call(part, x, target, buffer, prepared or number > 0, place))
            labels.append(part)
            self._shift_claims(part, shift[first : first + n_rows])
            first += n_rows
        return labels

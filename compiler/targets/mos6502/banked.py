"""Ops -> calls of 6502 kernels whose weights lie in a cartridge's ROM and are read there.

A kernel of matrices or embeddings runs with the bank of its weights in the window, everything else
that it touches in the RAM beside.  Attention, what keeps its keys and values, and rotations run
with all memory RAM: what only they use may lie beneath the window, the I/O chips or the KERNAL.
Other ops do not care, and nothing is switched for them.

To read another op's tables from ROM: a method that overrides the general one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.banked_rom import BANK_BYTES, Rom
from anachron.compiler.targets.mos6502.plan import Plan
from anachron.compiler.targets.mos6502.sections import byte_lines, page_data
from anachron.compiler.targets.mos6502.shared_ops import SharedOps
from anachron.compiler.targets.mos6502.sharing import NAME
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import banks, embedding, matvec, rope
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.matvec import block_label

RAM, UNKNOWN, POOL = -1, -2, 1 << 8  # in place of a bank; POOL is that of constants
POOLED = ("rms_norm", "layer_norm", "lookup")  # ops whose constants lie there


class BankedLowering(SharedOps):
    """As SharedOps, with weights in the ROM of a cartridge.

    _seen  the bank in the window where the text ends so far
    """

    rom: Rom

    def __init__(self, values: Values, ranges: Ranges, plan: Plan) -> None:
        self.rom = Rom()
        self._seen = UNKNOWN
        self._pooled: dict[bytes, str] = {}
        super().__init__(values, ranges, plan)
        for name in (*self.packed, *self.narrow_packed, *self.row_packed):
            self.routines["matvec"].pop(f"{name}_select", None)  # blocks share an address
        self.routines["embedding"][banks.HIDE] = banks.hide()
        self.routines["embedding"][banks.SHOW_CONSTANTS] = banks.show_constants()

    def begin_stage(self) -> None:
        super().begin_stage()
        self._seen = UNKNOWN

    def _show(self, bank: int) -> str:
        """Text that brings a bank into the window, unless it is there."""
        before, self._seen = self._seen, bank
        if before == bank:
            return ""
        return banks.turn(bank) if before >= 0 else banks.show(bank)

    def _hide(self, op: Op, at: int) -> None:
        """All memory is RAM from an op's call number `at` on."""
        if self._seen != RAM:
            self.sequence[op.name].insert(at, banks.HIDE)
            self._seen = RAM

    # ---- weights

    def _place_blocks(self, name: str, blocks: Sequence[bytes]) -> None:
        labels = [block_label(name, number) for number in range(len(blocks))]
        names = [f"weights {name} {number}" for number in range(len(blocks))]
        spots = self.rom.place_alike(names, blocks, "weights")
        self.rom.spots |= dict(zip(labels, spots, strict=True))

    def _place_with(self, name: str, block: int, label: str, title: str, content: bytes) -> None:
        bank = self.rom.spots[block_label(name, block)].bank
        if not self.rom.place_in(bank, label, title, content, "weights"):
            super()._place_with(name, block, label, title, content)

    def _choose_block(self, name: str, block: int, n_blocks: int) -> str:
        return self._show(self.rom.spots[block_label(name, block)].bank)

    def _general_rows(self, op: Op, name: str) -> list[str]:
        (x,) = self._inputs(op)
        out = self.values.vector(op.name)
        columns, bits = x.size, x.bits
        shift, rows = self._pack_rows(op)
        shape = (op.inputs[0], columns, bits)
        prepared = self._prepared == shape
        self._prepared = shape
        self._general_routines(op, columns, bits, out.bits)
        labels, first = [], 0
        for spot, n_rows in self.rom.place_rows(op.name, rows, "weights"):
            part = f"{name}_from_{first}" if first else name
            target = replace(out.at(first), size=n_rows)
            known = prepared or first > 0
            place, at = self._show(spot.bank), f"${spot.address:04x}"
            self._emit(op, matvec.call(part, x, target, at, known, place))
            self._shift_claims(part, shift[first : first + n_rows])
            labels.append(part)
            first += n_rows
        return labels

    def _embed(self, op: Op, name: str) -> None:
        out = self.values.vector(op.name)
        table, left = embedding.pack_table(op.constants["table"], op.attributes["shift"], out.bits)
        if op.inputs[0] == "position":
            table = table[: self.values.fixed.seq_len]
        narrow = bool(left) or out.bits == 8
        planes = [(plane & 0xFF).astype(np.uint8) for plane in (table, table >> 8)[: 2 - narrow]]
        width = self.token_bytes if op.inputs[0] == "token" else 1
        content, apart = b"".join(plane.tobytes() for plane in planes), table.size
        if len(content) <= BANK_BYTES:
            spot = self.rom.place(op.name, content, "weights")
            find = embedding.find_row(op.inputs[0], width, out.size)
            locate, where = lines(self._show(spot.bank), find), spot.address
        else:
            rows, apart = np.hstack(planes), out.size
            stride_bits = (rows.shape[1] - 1).bit_length()
            rows = np.pad(rows, ((0, 0), (0, (1 << stride_bits) - rows.shape[1])))
            bank = self.rom.place_banks(op.name, rows.tobytes(), "weights")
            where, self._seen = banks.WINDOW, UNKNOWN
            locate = banks.locate(op.inputs[0], width, stride_bits, bank)
        stored = Vector(f"${where:04x}", f"${where + apart:04x}", out.size, 8 if narrow else 16)
        text = embedding.embed(name, op.inputs[0], width, out, stored, left, locate=locate)
        self._emit(op, text)
        self.variants[op.name] = ("general", "its row is read from the cartridge")

    def data_bytes(self, op: Op) -> int:
        names = (op.name, *(f"{op.name} {role}" for role in ("records", "bias", "limits")))
        own = sum(o.size for o in self.rom.placed if o.name in names)
        stem = self.values.op(op) + "_"
        own += sum(table.size for label, table in self.pool.items() if label.startswith(stem))
        return own + super().data_bytes(op)

    # ---- constants

    def _bytes(self, op: Op, role: str, values: Array, kind: str) -> str:
        if op.contract not in POOLED:
            return super()._bytes(op, role, values, kind)
        content = (np.asarray(values, np.int64) & 0xFF).astype(np.uint8).tobytes()
        if content not in self._pooled:
            label = f"{self.values.op(op)}_{role}"
            self._pooled[content] = label
            text = f"{label}:\n{byte_lines(content)}"
            self.pool[label] = page_data(f"{op.name} {role}", kind, text, len(content))
        return self._pooled[content]

    def _read_pool(self, op: Op) -> None:
        """The op's constants are in the window when it begins."""
        if self._seen != POOL:
            self.sequence[op.name].insert(0, banks.SHOW_CONSTANTS)
            self._seen = POOL

    def _rms_norm(self, op: Op, name: str) -> None:
        super()._rms_norm(op, name)
        self._read_pool(op)

    def _layer_norm(self, op: Op, name: str) -> None:
        super()._layer_norm(op, name)
        self._read_pool(op)

    def _lookup(self, op: Op, name: str) -> None:
        super()._lookup(op, name)
        self._read_pool(op)

    # ---- what needs the memory beneath

    def _attention(self, op: Op, name: str) -> None:
        super()._attention(op, name)
        self._hide(op, 0)

    def _rope(self, op: Op, name: str) -> None:
        self._check_positions(op)
        self._check_width(op, op.name)
        n, heads = self.values.fixed.seq_len, op.attributes["heads"]
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        tables = [self._words(op, r, op.constants[r][:n], "table") for r in ("cosine", "sine")]
        a, b, cosine, sine = self._arguments(x, out, *tables)
        turned = bool(op.attributes["interleaved"])
        text = rope.rope(NAME, "position", a, b, cosine, sine, heads, turned)
        self._share(op, name, text, x, out, *tables)
        self._hide(op, 0)

    def _keep(self, op: Op) -> None:
        before = len(self.sequence[op.name])
        super()._keep(op)
        if len(self.sequence[op.name]) > before:
            self._hide(op, before)

"""What a program of a model's ops needs: their texts, data and memory, gathered op by op.

To add a contract: its row in KERNELS, and a method named like it in lowering.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.banked_rom import Rom
from anachron.compiler.targets.mos6502.expanded import Expansion
from anachron.compiler.targets.mos6502.sections import Area, Section, data
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector

# Contract -> the file of kernels/mos6502 that has it, and the part of the image with its code.
KERNELS = {
    "embed": "embedding",
    "add": "embedding",
    "matvec": "matvec",
    "rms_norm": "norm",
    "layer_norm": "norm",
    "attention": "attention",
    "rope": "attention",
    "relu": "activation",
    "lookup": "activation",
    "multiply": "activation",
}
# Variables of claims, with a value each that will do where a routine's time is left aside.
ALL = ""
Count = Callable[[FixedModel], Mapping[str, object]]
Chance = Callable[..., dict[str, Any]]
ANYTHING = {"rows": 1, "shift_bytes": 0, "shift_bits": 1, "seen": 1}


class Gathering:
    """The texts of a model's ops, gathered op by op.

    texts     part of the image -> routines, in order
    routines  part -> {label: shared routine}
    tables    data of ops        areas  memory of ops
    scratch   memory that takes turns: who needs it, no longer than it works -> label -> bytes;
              what ALL of them leave alone is needed for a whole pass
    sequence  op -> labels that the pass calls for it, in order
    kept      op -> those among them that keep its value for later positions
    variants  op -> the kernel's variant, and why it was chosen
    environments  op -> what the claims in its routines ask for
    counts    op, or a routine's label -> what finds those of them that data plays a part in
    anything  values that will do for any variable of claims
    fills     routines that fill tables, once, and their texts
    expansion where there is one: what lies in it
    rom       what lies in a cartridge's banks; pool: ops' constants that will
    samples   the program can draw tokens
    """

    samples = False

    expansion: Expansion | None = None
    rom: Rom | None = None

    def __init__(self, values: Values, ranges: Ranges) -> None:
        self.values, self.ranges = values, ranges
        self.texts: dict[str, list[str]] = {part: [] for part in KERNELS.values()}
        self.routines: dict[str, dict[str, str]] = {part: {} for part in KERNELS.values()}
        self.tables: dict[str, Section] = {}
        self.pool: dict[str, Section] = {}
        self.areas: dict[str, Area] = {}
        self.scratch: dict[str, dict[str, int]] = {}
        self.sequence: dict[str, list[str]] = {}
        self.kept: dict[str, list[str]] = {}
        self.variants: dict[str, tuple[str, str]] = {}
        self.environments: dict[str, dict[str, object]] = {}
        self.counts: dict[str, list[Count]] = {}
        self.chooses = False  # a pass leaves the likeliest token, and not all logits
        self.anything: dict[str, object] = dict(ANYTHING)
        self.token_bytes = 1 if max(values.fixed.vocab_size, values.fixed.seq_len) <= 256 else 2
        self.operand_pages: list[int] = []
        self.most_query = 0
        self.fills = {"fill_products": ""}  # its text is arithmetic's
        self._attentions: dict[tuple[object, ...], tuple[str, str]] = {}
        self._prepared: tuple[str, int, int] | None = None

    def _count(self, label: str, chance: Chance, *arguments: Any) -> dict[str, Any]:
        """What chances.py finds for a routine, now and again for other texts."""
        self.counts.setdefault(label, []).append(lambda fixed: chance(fixed, *arguments))
        return chance(self.values.fixed, *arguments)

    def begin_stage(self) -> None:
        """Nothing is known of the operand any more."""
        self._prepared = None

    def lower(self, op: Op) -> None:
        """Take in the next op."""
        self.sequence[op.name] = [self.values.op(op)]
        self.variants[op.name] = ("general", "exact for any weights and values")
        getattr(self, f"_{op.contract}")(op, self.values.op(op))
        n_calls = len(self.sequence[op.name])
        self._keep(op)
        self.kept[op.name] = self.sequence[op.name][n_calls:]

    def first_pass(self) -> str:
        """The pass of position 0, if it has its own."""
        return ""

    # ---- what kernels need

    def _emit(self, op: Op, text: str) -> None:
        self.texts[KERNELS[op.contract]].append(text)

    def _routine(self, op: Op, label: str, text: str) -> None:
        self.routines[KERNELS[op.contract]][label] = text

    def _bytes(self, op: Op, role: str, values: Array, kind: str) -> str:
        """A constant array, a byte a number."""
        label = f"{self.values.op(op)}_{role}"
        content = (np.asarray(values, np.int64) & 0xFF).astype(np.uint8).tobytes()
        self.tables[label] = data(f"{op.name} {role}", kind, label, content)
        return label

    def _words(self, op: Op, role: str, values: Array, kind: str) -> Vector:
        """A constant array, low bytes and high bytes apart."""
        values = np.asarray(values, np.int64).ravel()
        low = self._bytes(op, f"{role}_low", values, kind)
        high = self._bytes(op, f"{role}_high", values >> 8, kind)
        return Vector(low, high, len(values), 16)

    def _take_turns(self, user: str, sizes: Mapping[str, int]) -> None:
        """Memory that a user needs while it works."""
        held = self.scratch.setdefault(user, {})
        for label, size in sizes.items():
            held[label] = max(size, held.get(label, 0))

    def _inputs(self, op: Op) -> list[Vector]:
        return [self.values.vector(name) for name in op.inputs]

    def _keep(self, op: Op) -> None:
        """Store what later positions or stages read of a value."""

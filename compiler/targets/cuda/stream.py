"""One stream, as fast as it goes: the state of a kernel being written, and its simple ops.

A value is in the lanes of every warp (kernels/cuda/lanes.py), in units of rows spread over the
warps, in planes of bytes for the tensor cores (tiles.py), or in a place of shared memory; it is
brought from one to another when an op asks.  hazards.py says which barrier that takes.  An op that
has no fast form here goes through the general kernels.

To add a fast op: a case in stream_lowering.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.cuda.hazards import Hazards
from anachron.compiler.targets.cuda.layout import SHARED_BYTES
from anachron.compiler.targets.cuda.lowering import Lowering
from anachron.compiler.targets.cuda.residence import MUST, Residence
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda import tiles
from anachron.kernels.cuda.lanes import (
    count_registers,
    element_index,
    element_text,
    inside,
    masked,
    together,
)
from anachron.kernels.cuda.places import WARP, Place, indent

TEMPORARY = re.compile(
    r"\b(?:total|small|squares|root|after|inverse|u|k|base|middle|v|other|angle|at|part|sums|head|"
    r"shared_head|(?:sums|pieces|key|value|query|q|mine|score|weight)\d*|key_at|value_at|largest|"
    r"distance|step|own_score|own_weight|j|end|share|mixed|low|sign|upper_part|beyond|place|start|"
    r"key_kept|value_kept|quotient|rest|more|feature)\b"
)
POSITION = re.compile(r"\bp\b")
NOWHERE = 128  # bytes of a warp


@dataclass(frozen=True)
class Units:
    """Rows of a value in registers: unit warp + warps * i is register i, of 16, 24 or 32 rows."""

    names: list[str]
    rows: int

    def count(self, size: int) -> int:
        return -(-size // self.rows)


@dataclass(frozen=True)
class Planes:
    """Bytes for the tensor cores; `own`: each warp has all of them for itself."""

    base: str
    name: str
    own: bool


@dataclass
class Tile:
    """A tile a warp: 16 bytes of each thread."""

    content: bytes
    label: str
    share: float  # of its product's tiles that come before it, where loads are hidden; or 0


@dataclass(frozen=True)
class Window:
    """A place in the text where a chain waits for itself, so that loads cost no time.

    number    of its line in the text     interval  in which it is
    after     the name of a word that is 0, and known when the window begins: the assembler, which
              would load sooner, has to wait for it
    """

    number: int
    interval: int
    after: str


@dataclass
class Stream:
    """What has been written of a kernel so far."""

    fixed: FixedModel
    ranges: Ranges
    warps: int
    hazards: Hazards
    room: int = SHARED_BYTES
    near_caches: bool = True  # caches that could be shared are
    packs: bool = False  # constants that are not in registers
    relies: bool = False  # on that
    lines: list[str] = field(default_factory=list)
    intervals: list[list[str]] = field(default_factory=lambda: [[]])
    current: str = ""
    lanes: dict[str, list[str]] = field(default_factory=dict)
    units: dict[str, Units] = field(default_factory=dict)
    planes: dict[str, Planes] = field(default_factory=dict)
    tiles: list[Tile] = field(default_factory=list)
    constants: list[tuple[int, bool]] = field(default_factory=list)  # (thing, a word a thread)
    phases: list[str] | None = None
    variants: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = Residence(self.fixed.seq_len, self.warps, self.room)
        self.numbers = {op.name: i for i, op in enumerate(self.fixed.ops)}
        self.attended = {
            n for op in self.fixed.ops if op.contract == "attention" for n in op.inputs[1:]
        }
        self.general = Lowering(self.fixed, self.ranges, self.at, WARP * self.warps)
        self.serial = 0
        self.windows: dict[str, Window] = {}  # by the value that is being found meanwhile
        self.loads: list[list[str]] = []  # lines of each window
        self.later: list[tuple[str, list[str]]] = []
        self.kept: dict[str, str] = {}
        self.gained: dict[str, tuple[list[str], list[str] | None]] = {}
        self.opening: list[str] = []  # lines at the start of a pass
        self.at_start: list[str] = []  # and before the first one
        self.own_bytes = [0, 0]  # of a warp's own two buffers of planes
        self.own_next = 0
        self.ahead: int | None = None  # where loads go that need not wait for a barrier
        self.words: dict[str, list[tuple[str, str]]] = {}
        self.wanted: dict[str, bool] = {}
        self.buffers: dict[tuple[str, int], int] = {}

    # ---- writing

    def emit(self, *lines: str) -> None:
        """Lines of the current op, whose temporary names get its number.

        Numba is slow with names that are given many values: each costs it a walk over all lines.
        """
        self.lines += [self.rename(line) for line in lines]

    def rename(self, line: str) -> str:
        return TEMPORARY.sub(rf"\g<0>_{self.serial}", line)

    def once(self, text: str) -> str:
        """The name of a word that is the same all through a pass, loaded when it begins."""
        if text not in self.kept:
            self.kept[text] = f"kept{len(self.kept)}"
            self.opening.append(f"{self.kept[text]} = {text}")
        return self.kept[text]

    def once_ahead(self, text: str) -> str:
        """The same of a word that a position p decides: loaded while the one before it is done."""
        if text not in self.kept:
            name = self.kept[text] = f"kept{len(self.kept)}"
            later = POSITION.sub("add32(p, 1)", text)
            self.opening += [f"{name} = next_{name}", f"next_{name} = {later}"]
            self.at_start.append(f"next_{name} = {text}")
        return self.kept[text]

    def begin(self, op: Op, variant: str, why: str) -> None:
        self.current = op.name
        self.serial += 1
        self.intervals[-1].append(op.name)
        self.emit(f"# {op.name}: {op.contract}")
        self.variants[op.name] = (variant, why)
        self.mark(op.name)

    def mark(self, name: str) -> None:
        """In a kernel that takes its own time: what passed since the last mark is the last op's."""
        if self.phases is None:
            return
        self.emit(f"ticks = @TICKS@ + {4 * len(self.phases)}", "now = clock()", "if tid == 0:")
        self.emit("    store32(sm, ticks, add32(load32(sm, ticks), sub32(now, ticked)))")
        self.emit("ticked = now")
        self.phases.append(name)

    def barrier(self, kind: str) -> None:
        if kind == "block":
            self.ahead = len(self.lines)
            self.emit("cuda.syncthreads()")
            self.intervals.append([self.current])
            for name, lines in self.later:
                self.hazards.written.add(name)
                self.lines += lines
            self.later.clear()
        elif kind == "warp":
            self.emit("cuda.syncwarp()")

    def after_barrier(self, name: str, lines: list[str]) -> None:
        """Write an object behind the block's next barrier, when nobody reads what it was."""
        self.later.append((name, [self.rename(line) for line in lines]))

    def reads(self, name: str, own: bool = False) -> None:
        self.barrier(self.hazards.to_read(name, own))

    def writes(self, name: str, own: bool = False) -> None:
        self.barrier(self.hazards.to_write(name, own))

    def turn_to(self, lines: list[str]) -> None:
        """Write somewhere else from here on."""
        self.lines, self.ahead = lines, None

    # ---- constants

    def tile(self, content: Array, label: str, share: float) -> str:
        """A tile a warp, (warps, TILE_BYTES) -> the name of its four words, loaded."""
        self.tiles.append(Tile(content.astype(np.int8).tobytes(), label, share))
        return f"w{len(self.tiles) - 1}"

    def word(self, values: Array) -> str:
        """The text of a word a lane (32,) or a thread (warps, 32), or of the one that all have."""
        values = np.asarray(values, np.int64)
        if (values == values.flat[0]).all():
            return str(int(values.flat[0]))
        if values.ndim == 2 and (values == values[0]).all():
            values = values[0]
        thing = self.at.constant(values.astype("<i4").tobytes(), MUST, "lanes")
        entry = (thing, values.ndim == 2)
        if entry not in self.constants:
            self.constants.append(entry)
        return f"@C{self.constants.index(entry)}@"

    def lane_words(self, row: Array, i: int, fill: int = 0) -> str:
        """Elements of a vector that lie in register i of the lanes."""
        return self.word(pick_lanes(row, i, fill))

    @property
    def nowhere(self) -> str:
        """A lane's own place for what is not wanted: sooner stored than branched around.

        Up to NOWHERE - WARP bytes behind it are a warp's own, too.
        """
        thing = self.scratch("nowhere", NOWHERE * self.warps)
        return self.once(f"add32(add32(shl32(warp, {NOWHERE.bit_length() - 1}), lane), @A{thing}@)")

    def scratch(self, name: str, size: int) -> int:
        """A buffer for the time of one op, the same one for all that are as large."""
        if (name, size) not in self.buffers:
            self.buffers[name, size] = self.at.buffer(size, name)
        return self.buffers[name, size]

    # ---- where values are

    def size(self, name: str) -> int:
        return self.fixed.values[name].size

    def bits(self, name: str) -> int:
        return self.fixed.values[name].format.bits

    def registers(self, name: str, count: int) -> list[str]:
        return [f"v{self.numbers[name]}_{i}" for i in range(count)]

    def lane_registers(self, name: str) -> list[str]:
        return self.registers(name, count_registers(self.size(name)))

    def element(self, units: Units, i: int) -> str:
        """The text of which element of a value a lane's register i of units is."""
        unit = f"add32(warp, {self.warps * i})" if i else "warp"
        slot = "and32(slot, 15)" if units.rows == tiles.ROWS else "slot"
        return f"add32(mul32({unit}, {units.rows}), {slot})"

    def guard(self, units: Units, i: int, size: int) -> str:
        """The text of whether a lane's register i is to be stored: its own row, inside."""
        parts = []
        whole = units.rows * self.warps * (i + 1) <= size
        if not whole:
            parts.append(f"{self.element(units, i)} < {size}")
        if units.rows < WARP:
            parts.append("not upper" if units.rows == tiles.ROWS else f"slot < {units.rows}")
        return " and ".join(parts)

    def as_place(self, name: str) -> Place:
        """A value in shared memory, for anybody after a barrier."""
        places = self.at.values
        if name in places:
            return places[name]
        place = places[name] = self.new_place(name)
        self.writes(name)
        if name in self.lanes:
            self.emit("if warp == 0:")
            for i, register in enumerate(self.lanes[name]):
                condition = inside(i, self.size(name))
                store = place.store(element_text(i, self.size(name)), register)
                self.emit(*indent([f"if {condition}:", f"    {store}"] if condition else [store]))
        else:
            units = self.units[name]
            for i, register in enumerate(units.names):
                condition = self.guard(units, i, self.size(name))
                store = place.store(self.element(units, i), register)
                self.emit(*([f"if {condition}:", f"    {store}"] if condition else [store]))
        return place

    def new_place(self, name: str) -> Place:
        """Room for a value; for all its rows where an attention looks back at them."""
        rows = self.fixed.seq_len if name in self.attended else 1
        plain = Place("", 0, self.bits(name), self.size(name), rows)
        make = self.at.cache if rows > 1 else self.at.buffer
        return self.at.place(make(plain.n_bytes, name), plain.bits, plain.size, rows)

    def as_lanes(self, name: str) -> list[str]:
        """A value in the lanes of every warp."""
        if name not in self.lanes:
            place = self.as_place(name)
            self.reads(name)
            registers = self.lanes[name] = self.lane_registers(name)
            for i, register in enumerate(registers):
                at = element_text(i, self.size(name))
                condition = inside(i, self.size(name))
                if condition:
                    at = f"select({condition}, {at}, 0)"
                self.emit(f"{register} = {masked(place.load(at), i, self.size(name))}")
        return self.lanes[name]

    def as_planes(self, name: str) -> Planes:
        """A value's bytes for the tensor cores, after the barrier that they need."""
        if name not in self.planes:
            self._make_planes(name)
        planes = self.planes[name]
        self.reads(planes.name, planes.own)
        return planes

    def _make_planes(self, name: str) -> None:
        size, bits = self.size(name), self.bits(name)
        room = tiles.plane_bytes(size, bits)
        if name in self.units and name not in self.lanes:
            units = self.units[name]
            thing = self.at.buffer(room, f"{name} in planes")
            planes = self.planes[name] = Planes(f"@A{thing}@", f"planes of {name}", False)
            self.writes(planes.name)
            for i, register in enumerate(units.names):
                feature = self.element(units, i)
                at = f"add32({tiles.plane_text(feature, size, bits)}, {planes.base})"
                store = tiles.store_planes([register], at, size, bits)
                condition = self.guard(units, i, size)
                self.emit(*([f"if {condition}:", *indent(store)] if condition else store))
            return
        registers = self.as_lanes(name)
        mine = self.own_next
        self.own_next = 1 - mine
        self.own_bytes[mine] = max(self.own_bytes[mine], room)
        for other, made in list(self.planes.items()):
            if made.own and made.base == f"own{mine}":
                del self.planes[other]
        planes = self.planes[name] = Planes(f"own{mine}", f"own{mine}", True)
        self.writes(planes.name, own=True)
        width = together(size)
        for i in range(0, len(registers), width):
            first = tiles.plane_text(element_text(0, size), size, bits)
            at = f"add32(add32(own{mine}, {first}), {tiles.plane_at(i, size, bits)})"
            self.emit(*tiles.store_planes(registers[i : i + width], at, size, bits))

    def fragments(self, name: str) -> list[tuple[str, str]]:
        """A lane's two words of every tile of a value."""
        if name not in self.words:
            planes = self.as_planes(name)
            size, bits = self.size(name), self.bits(name)
            lines, self.words[name] = tiles.load_fragments(
                planes.base, "0", tiles.count_tiles(size), size, bits, f"x{self.numbers[name]}_"
            )
            self.emit(*lines)
        return self.words[name]

    # ---- anything else

    def general_op(self, op: Op) -> None:
        """An op by the general kernels: from places to a place."""
        self.begin(op, "general", "no fast form here")
        for name in op.inputs:
            if name in self.numbers:
                self.as_place(name)
        for name in op.inputs:
            if name in self.numbers:
                self.reads(name)
        self.at.values[op.name] = self.new_place(op.name)
        self.writes(op.name)
        self.emit(*self.general.lower_one(op))
        if op.contract == "attention":
            self.writes("scores", own=True)

    def own_preamble(self) -> list[str]:
        """Where a warp's own planes start."""
        lines = []
        for i, size in enumerate(self.own_bytes):
            if size:
                room = -(-size // 16) * 16
                thing = self.at.buffer(room * self.warps, f"planes of each warp, {i}")
                lines.append(f"own{i} = add32(@A{thing}@, mul32(warp, {room}))")
        return lines


def pick_lanes(row: Array, i: int, fill: int = 0) -> Array:
    """Elements of a vector that lie in register i of the lanes."""
    row = np.asarray(row, np.int64)
    index = element_index(i, len(row))
    return np.where(index < len(row), row[np.minimum(index, len(row) - 1)], fill)

"""FixedModel -> the text of a stream kernel: one block, weights in registers and shared memory.

    for every position: the ops; then, from the prompt's last id on, the logits and the choice

A block barrier stands only where one warp reads what another wrote; the text of a pass is written
again until the barriers at its start fit what is pending after a choice.  A pass of the prompt,
which has no choice, ends with a barrier where the next one would need more than that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from anachron.compiler.fixed import FixedModel
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.cuda.hazards import Hazards
from anachron.compiler.targets.cuda.products import row_of_unit
from anachron.compiler.targets.cuda.residence import NEVER, SOON, Residence
from anachron.compiler.targets.cuda.stream import Stream
from anachron.compiler.targets.cuda.stream_lowering import lower_body, lower_op
from anachron.kernels.cuda import tiles
from anachron.kernels.cuda.heads import ZERO
from anachron.kernels.cuda.places import LINE, WARP, indent
from anachron.kernels.cuda.sampling import LEAST, MOST_IDS, argmax, sample
from anachron.kernels.reference.sampling import WEIGHTS

REGISTERS = 65536 // WARP  # of a multiprocessor, for one lane of all warps
MOST_REGISTERS = 255  # of a thread
WORKING = 104  # registers that are left to the compiler
MARKERS = re.compile(r"@([CL])(\d+)(?:\+(\w+))?@|@TICKS@")
WINDOW = re.compile(r"( *)@W(\d+)@")
CHOICE = "choose"
NEXT, END = "next", "end"  # of a pass: its position; of all of them: the clock


@dataclass
class Written:
    """A stream and the lines of its parts."""

    stream: Stream
    body: list[str] = field(default_factory=list)
    choice: list[str] = field(default_factory=list)
    ends: Hazards = field(default_factory=Hazards)
    body_ends: Hazards = field(default_factory=Hazards)
    prompt_barrier: bool = False
    always: int = 0  # intervals that end before the choice

    @property
    def budget(self) -> int:
        """Registers of a thread for weights and constants."""
        return min(MOST_REGISTERS, REGISTERS // self.stream.warps) - WORKING

    @property
    def resident(self) -> bool:
        """Whether all of them are."""
        s = self.stream
        return len(s.constants) + tiles.LANE_WORDS * len(s.tiles) <= self.budget


def count_warps(fixed: FixedModel) -> int:
    """Enough for a head each, in whole quarters of a multiprocessor."""
    heads = [op.attributes["heads"] for op in fixed.ops if op.contract == "attention"]
    return next(w for w in (4, 8, 16) if w >= min(16, max(heads, default=4)))


def write_stream(
    fixed: FixedModel,
    ranges: Ranges,
    keep_logits: bool,
    warps: int,
    room: int,
    phases: bool,
    near_caches: bool = True,
    packs: bool = False,
) -> Written:
    """The parts of a kernel's loop, with barriers that fit from pass to pass."""

    def settle(after_prompt: bool) -> Written:
        hazards = Hazards()
        while True:
            stream = Stream(fixed, ranges, warps, hazards.copy(), room, near_caches, packs)
            if phases:
                stream.phases = []
            written = _write_pass(stream, keep_logits)
            ends = hazards.joined(written.ends)
            if after_prompt:
                ends = ends.joined(written.body_ends)
            if ends == hazards:
                return written
            hazards = ends

    least, safe = settle(False), settle(True)
    if (safe.body, safe.choice) == (least.body, least.choice):
        return safe
    least.prompt_barrier = True
    return least


def _write_pass(s: Stream, keep_logits: bool) -> Written:
    written = Written(s)
    s.turn_to(written.body)
    lower_body(s)
    s.mark("")
    written.body[:0] = s.opening
    written.always = len(s.intervals)
    written.body_ends = s.hazards.copy()
    s.turn_to(written.choice)
    lower_op(s, s.fixed.ops[-1])
    _choose(s, keep_logits)
    s.mark("")
    written.ends = s.hazards
    return written


def _choose(s: Stream, keep_logits: bool) -> None:
    """best, from the logits, wherever they are."""
    fixed = s.fixed
    name, size, first_id = fixed.logits.name, fixed.vocab_size, fixed.generation.first_id
    s.mark(CHOICE)
    s.current = CHOICE
    s.emit(f"# {CHOICE}")
    weights = s.at.unsigned_words(WEIGHTS)
    if name not in s.units:
        place = s.as_place(name)
        s.reads(name)
        if keep_logits:
            s.emit(f"for i in range(tid, {size}, {WARP * s.warps}):")
            s.emit(f"    logits[mul32(row, {size}) + i] = {place.load('i')}")
        s.emit("if inverse_temperature == 0:", *indent(argmax(place, first_id=first_id)), "else:")
        s.emit(*indent(sample(place, weights, frac=fixed.logits.format.frac, first_id=first_id)))
        return
    units = s.units[name]
    best = s.at.buffer(4 * s.warps, "best keys")
    plain = s.new_place(name)
    s.at.values[name] = plain
    s.writes("best keys")
    s.writes(name)
    keys = [f"key = int32({LEAST})"]
    store = []
    for i, register in enumerate(units.names):
        ids = np.array([row_of_unit(w + s.warps * i, units.rows) for w in range(s.warps)])
        valid = (ids >= first_id) & (ids < size)
        low = s.word(np.where(valid, MOST_IDS - 1 - ids, -1))
        key = f"add32(shl32({register}, 16), {low})"
        if not valid.all():
            key = f"select({low} >= 0, {key}, {LEAST})"
        keys.append(f"key = max32(key, {key})")
        condition = s.guard(units, i, size)
        stores = [plain.store(s.element(units, i), register)]
        store += [f"if {condition}:", *indent(stores)] if condition else stores
        if keep_logits:
            kept = f"logits[add32(mul32(row, {size}), {s.element(units, i)})] = {register}"
            s.emit(*([f"if {condition}:", f"    {kept}"] if condition else [kept]))
    keys += ["key = redux_max(key)", "if lane == 0:"]
    keys.append(f"    store32(sm, add32(shl32(warp, 2), @A{best}@), key)")
    s.emit("if inverse_temperature == 0:", *indent(keys), "else:", *indent(store))
    s.reads("best keys")
    s.reads(name)
    found = []
    for i in range(0, s.warps, 4):
        found.append(f"keys = load128(sm, @A{best}@ + {4 * i})")
        four = "max32(max32(keys[0], keys[1]), max32(keys[2], keys[3]))"
        found.append(f"key = max32(key, {four})" if i else f"key = {four}")
    found.append(f"best = sub32({MOST_IDS - 1}, and32(key, {MOST_IDS - 1}))")
    s.emit("if inverse_temperature == 0:", *indent(found), "else:")
    s.emit(*indent(sample(plain, weights, frac=fixed.logits.format.frac, first_id=first_id)))


def finish_stream(written: Written, header: str) -> tuple[str, Residence, int]:
    """The kernel's source, its residence, and how many tiles of each thread are in registers."""
    s = written.stream
    threads = WARP * s.warps
    prompt = s.at.buffer(4 * s.fixed.seq_len, "prompt")
    nothing = s.at.constant(bytes(LINE), NEVER, "zero")
    ticks = s.at.buffer(4 * max(1, len(s.phases or ())), "ticks")
    own = s.own_preamble()
    resident = written.resident
    budget = written.budget - len(s.constants) * resident
    order = sorted(range(len(s.tiles)), key=lambda n: (s.tiles[n].share, n))
    inside = set(order[: budget // tiles.LANE_WORDS])
    loads: dict[int, str] = {}
    start = []
    for n, tile in enumerate(s.tiles):
        thing = s.at.constant(tile.content, NEVER if n in inside else SOON, tile.label)
        text = f"w{n} = load128(@M{thing}@, add32(shl32(tid, 4), @A{thing}@))"
        if n in inside:
            start.append(text.replace(f"@M{thing}@", "gm"))
            text = ""
        loads[n] = text
    words: dict[int, str] = {}
    for n, (thing, each) in enumerate(s.constants):
        text = f"load32(@M{thing}@, add32(shl32({'tid' if each else 'lane'}, 2), @A{thing}@))"
        if resident:
            start.append(f"c{n} = {text}")
            text = f"c{n}"
        words[n] = text
    s.at.finish()

    def known(found: re.Match[str]) -> str:
        if found[0] == "@TICKS@":
            return f"@A{ticks}@"
        text = (words if found[1] == "C" else loads)[int(found[2])]
        late = f"xor32(shl32(tid, 4), {found[3]})"
        return text.replace("shl32(tid, 4)", late) if found[3] else text

    def opened(line: str) -> list[str]:
        found = WINDOW.fullmatch(line)
        if not found:
            return [line]
        lines = [MARKERS.sub(known, load) for load in s.loads[int(found[2])]]
        lines = [found[1] + line for line in lines if line]
        return lines

    def settle(lines: list[str]) -> list[str]:
        whole = [part for line in lines for part in opened(line)]
        settled = [s.at.resolve(MARKERS.sub(known, line)) for line in whole]
        return [line for line in settled if line.strip()]

    fixed = s.fixed
    ends = "".join(f" or best == {i}" for i in fixed.generation.stop)
    offsets = {k: v for bits in (8, 16) for k, v in tiles.fragment_offsets(bits).items()}
    marks = s.phases is not None
    zero = [f"for i in range(tid, {len(s.phases or ())}, {threads}):",
            f"    store32(sm, @A{ticks}@ + 4 * i, 0)"]  # fmt: skip
    tell = ["cuda.syncthreads()", f"for i in range(tid, {len(s.phases or ())}, {threads}):",
            f"    clocks[1 + i] = load32(sm, @A{ticks}@ + 4 * i)"]  # fmt: skip
    source = [
        header,
        *indent(
            settle(
                [
                    # A number that the compiler does not know: it would find it again and again.
                    "sm = start_of(cuda.shared.array(0, int32, alignment=16))",
                    "tid = int32(cuda.threadIdx.x)",
                    "block = int32(cuda.blockIdx.x)",
                    "lane = and32(tid, 31)",
                    "warp = shr32(tid, 5)",
                    "slot = add32(shl32(and32(lane, 3), 3), shr32(lane, 2))",
                    "odd = and32(lane, 1) != 0",
                    "upper = and32(lane, 2) != 0",
                    *(f"{name} = {text}" for name, text in offsets.items()),
                    f"{ZERO} = redux_max(load32(gm, @A{nothing}@))",
                    f"spilled = mul32(block, {s.at.spilled})",
                    f"for i in range(tid, {s.at.shared_constants // 4}, {threads}):",
                    "    store32(sm, 4 * i, load32(gm, 4 * i))",
                    f"for i in range(tid, n_prompt, {threads}):",
                    f"    store32(sm, @A{prompt}@ + 4 * i, prompt[i])",
                    *(zero if marks else []),
                    "cuda.syncthreads()",
                    *own,
                    *start,
                    "began = clock()",
                    "ticked = began",
                    "for again in range(repeats):",
                    *indent(
                        [
                            f"token = load32(sm, @A{prompt}@)",
                            "count = int32(0)",
                            "p = int32(0)",
                            "random = random_state",
                            *s.at_start,
                            "while True:",
                            *indent(written.body),
                            f"    # {NEXT}",
                            "    p = add32(p, 1)",
                            "    if p < n_prompt:",
                            f"        token = load32(sm, add32(shl32(p, 2), @A{prompt}@))",
                            *(["        cuda.syncthreads()"] if written.prompt_barrier else []),
                            "    else:",
                            "        row = add32(mul32(block, most), count)",
                            *indent(written.choice, 2),
                            "        count = add32(count, 1)",
                            "        if tid == 0:",
                            "            chosen[mul32(block, add32(most, 1))] = count",
                            "            chosen[add32(mul32(block, add32(most, 1)), count)] = best",
                            f"        if count == most{ends}:",
                            "            break",
                            "        token = best",
                        ]
                    ),
                    f"# {END}",
                    "if tid == 0 and block == 0:",
                    "    clocks[0] = sub32(clock(), began)",
                    *(tell if marks else []),
                ]
            )
        ),
    ]
    return "\n".join(source) + "\n", s.at, len(inside)

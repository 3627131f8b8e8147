"""attention of int16 vectors kept as two bytes, in residues -> assembly text.

    scores.py   every row's score and weight        mixing.py   the values mixed by them

Exact for any vectors where, of three moduli and the small one, levels.widest tells sums apart of
`highest_sum`, and small_basis those of mixing.largest_sum from 0 on.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.residue.attention import relocate
from anachron.kernels.mos6502.split.cache import keep_key, keep_value
from anachron.kernels.mos6502.split.mixing import enter, entry_tables, mix, weighted_sum
from anachron.kernels.mos6502.split.query import query, take
from anachron.kernels.mos6502.split.scores import scores
from anachron.kernels.mos6502.split.shape import FLIP, SHIFTS, Mixer, Shape
from anachron.kernels.mos6502.split.weights import weights


def highest_sum(length: int) -> int:
    """Of products of a query, whose magnitudes sum to `length`, with bytes of a key, in size."""
    return FLIP * length


def attend(mixer: Mixer) -> str:
    """All code of attentions of a shape: `<name>_attend`, and what calls need besides."""
    shape, name = mixer.shape, mixer.name
    group = shape.heads // shape.kv_heads
    text = lines(
        f"; {name}_attend: {shape.heads} heads of {shape.head_size}, keys and values of "
        f"{shape.kv_heads}; uses everything",
        f"{name}_attend:\n    jsr {name}_take\n    lda #0\n    sta {name}_head",
        f"    sta {name}_base",
        f"    lda {name}_first\n    sta {name}_from_value\n    lda #{group}\n    sta group_left",
        "    lda position" if shape.causal else f"    lda #{shape.n_rows - 1}",
        f"    sta {name}_seen\n    sta {name}_row",
        enter(shape) if shape.causal else "",
        f"{name}_next_head:",
        f"    lda {name}_head\n    clc\n    adc #{shape.head_size}\n    sta {name}_next",
        _aim(shape),
        query(mixer),
        scores(mixer),
        weights(mixer),
        mix(shape),
        f"""\
{name}_mixed:
    lda {name}_next
    sta {name}_head
    cmp #{shape.size & 0xFF}
    beq _done           ;@ times {shape.heads}
    dec group_left
    bne _same           ;@ p={1 - 1 / group if group > 1 else 0:.3f}
    lda #{group}
    sta group_left
    lda {name}_base
    clc
    adc #{shape.n_rows}
    sta {name}_base
    lda {name}_row
    adc #{shape.n_rows}
    sta {name}_row
    lda {name}_from_value
    clc
    adc #{shape.head_size}
    sta {name}_from_value
_same:
    jmp {name}_next_head
_done:
    rts""",
        weighted_sum(shape),
        *(
            f"{name}_{what}:\n    .byte 0"
            for what in ("head", "next", "base", "row", "seen", "first", "from_value")
        ),
        f"{name}_page:\n    .byte >{name}_cache" if shape.caches > 1 else "",
        entry_tables(shape) if shape.causal else "",
        take(shape),
        keep_key(shape),
        keep_value(shape),
    )
    return relocate(name, shape.cache_pages, text) if shape.caches > 1 else text


def _aim(shape: Shape) -> str:
    """Where a head's scores go, whose rows X counts from <name>_base, and where it ends."""
    name = shape.name
    text = [f"    ldx {name}_base\n    dex\n    stx {name}_last+1"]
    for part in ("high", "low"):
        text.append(
            f"    sec\n    lda #<{name}_scores_{part}\n    sbc {name}_base\n"
            f"    sta {name}_keep_{part}+1\n    lda #>{name}_scores_{part}\n    sbc #0\n"
            f"    sta {name}_keep_{part}+2"
        )
    return lines(*text)


def _point(name: str, parts: tuple[str, str], x: Vector) -> str:
    """A vector's address into operands."""
    return lines(
        *(
            f"    lda #<({label})\n    sta {name}_{part}+1\n    lda #>({label})\n"
            f"    sta {name}_{part}+2"
            for part, label in zip(parts, (x.low, x.high), strict=True)
        )
    )


def _select(shape: Shape, cache: int, label: str) -> str:
    """Make a cache that of the code, if there are several."""
    first = f"    lda #{shape.first_value(cache)}\n    sta {shape.name}_first"
    return f"    ldy #>{label}\n    jsr {shape.name}_select\n{first}" if label else ""


def call(
    mixer: Mixer, label: str, shift: int, q: Vector, out: Vector, cache: int, select: str = ""
) -> str:
    """The op `label`: the heads of one position; select: as call_keep."""
    name, left = mixer.name, shift - SHIFTS[0]
    chosen = []
    if len(mixer.left) > 1:
        chosen.append(f"    lda #{mixer.mask(left)}\n    sta {name}_mask+1")
        chosen.append(f"    lda #{mixer.far(left)}\n    sta {name}_reach+1")
        for at, stem in mixer.ways.items():
            chosen.append(set_word(f"{at}+1", f"{stem}_{left}").replace("+1+1", "+2"))
    return lines(
        f"{label}:",
        _select(mixer.shape, cache, select),
        *chosen,
        _point(name, ("query_low", "query_high"), q),
        _point(name, ("out_low", "out_high"), out),
        f"    jmp {name}_attend",
    )


def call_keep(shape: Shape, label: str, role: str, x: Vector, cache: int, select: str = "") -> str:
    """The routine `label`: a key or a value into a cache; select: its label, if it is not yet."""
    name = shape.name
    return lines(
        f"{label}:",
        _select(shape, cache, select),
        _point(name, (f"{role}_low", f"{role}_high"), x),
        f"    jmp {name}_keep_{role}",
    )

"""The backward pass: from the gradients of the logits to those of queries, keys, values and x.

A gradient of attention's scores is clipped twice: before it is multiplied by the weight, and after.
A position without a gradient has none of its scores either, and is left out there.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import add_to_word, lines, set_word
from anachron.kernels.mos6502.training.codes import (
    LARGEST,
    SPREAD,
    byte,
    half_product,
)
from anachron.kernels.mos6502.training.forward import (
    LARGEST_SHARE,
    features,
    follow_row,
    point_at_token,
    positions,
    read_row,
)
from anachron.kernels.mos6502.training.products import Products, high_byte
from anachron.kernels.mos6502.training.shape import MOST, Shape
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES
from anachron.kernels.reference.log_tables import octaves

CONSTANT = octaves(-11) // 2  # of the logits' gradients times their matrix
LARGEST_GRADIENT = octaves(LOSS_OCTAVES) // 2  # the magnitude of a logit's gradient of 1


def ids(shape: Shape) -> Products:
    """Sums over ids, a column a position: gradients of y."""
    most = half_product(LARGEST_GRADIENT + LARGEST_SHARE + CONSTANT + LARGEST)
    return Products("sum_ids", shape.vocab, shape.positions, most)


def d_y(shape: Shape) -> str:
    """The gradient of y, Q11: its bytes; and that of x in Q9, to begin with."""
    kernel = ids(shape)
    codes = "\n".join(
        f"""\
{kernel.high(c)}
    cmp #$80
    ror
    sta dx_high+{shape.feature * c},y
    lda low+{c}
    ror
    sta dx_low+{shape.feature * c},y
{kernel.code('d_y_code', c)}
    sta dy_codes+{shape.feature * c},y"""
        for c in range(shape.positions)
    )
    return f"""\
; d_y: dy_codes, dx_low, dx_high from the gradients of the logits and out_codes
d_y:
    jsr patch_ids
    jsr mute_{kernel.name}
    ldy #0
d_y_next:
{read_row(shape.vocab, "out_codes", shape.feature, shape.dim - 1)}
    jsr {kernel.name}
{codes}
    iny
    cpy #{shape.dim}
    beq d_y_end         ;@ times {shape.dim}
    jmp d_y_next
d_y_end:
    jmp unmute_{kernel.name}"""


def d_scores(shape: Shape) -> str:
    """The gradients of the scores, by the rows of those of attention's weights, Q7."""
    kernel, n = features(shape), shape.positions
    mean = "\n".join(_share(shape, kernel, c) for c in range(n))
    slopes = "\n".join(_slope(kernel, c) for c in range(n))
    silent = "\n".join(f"    sta slopes+{MOST * c},x" for c in range(n))
    edges = Products("", n, 1, kernel.most).edges
    return f"""\
; d_scores: slopes from the gradients of y, the values, and attention
d_scores:
    ldy #{shape.part(2)}
    jsr patch_features
    lda #0
    sta position
{set_word("source", "dy_codes")}
d_scores_next:
    ldx position
    lda active,x        ;@ aligned
    bne d_scores_row    ;@ p=1
{silent}
    jmp d_scores_done
d_scores_row:
{follow_row(shape.dim)}
    jsr {kernel.name}
    lda #0
    sta total
    sta total+1
{mean}
    lda total
    eor #$ff
    clc
    adc total+1
    adc #0
{high_byte(edges, "total")}
    sta total+1
{slopes}
d_scores_done:
{add_to_word("source", str(shape.feature))}
    inc position
    lda position
    cmp #{n}
    beq d_scores_end    ;@ times {n}
    jmp d_scores_next
d_scores_end:
    rts"""


def _share(shape: Shape, kernel: Products, c: int) -> str:
    """A column's weight times its gradient, added to total, residues modulo 256 and 255; the
    gradient's high byte comes into rest."""
    code = lines(kernel.code("d_scores_code", c), "    tay")
    return f"""\
{code}
{kernel.high(c)}
    sta rest+{c}
    ldx position
    lda attention+{MOST * c},x;@ aligned
    tax
    lda shares_low,x    ;@ aligned
    sta product
    sta residue
    clc
    lda shares_high,x   ;@ aligned
    sta product+1
    adc #product_pages
    sta residue+1
    lda total
    adc (product),y     ;@ p=0.35
    sta total
    clc
    lda total+1
    adc (residue),y     ;@ p=0.35
    adc #0
    sta total+1"""


def _slope(kernel: Products, c: int) -> str:
    """The byte of a score's gradient."""
    name = f"d_scores_{c}"
    return f"""\
    sec
    lda low+{c}
    sbc total
    sta low+{c}
    lda rest+{c}
    sbc total+1
    asl low+{c}
    rol                 ; twice, it wraps like the linear integer that it is
    beq {name}_near     ;@ p=0.5
    cmp #$ff
    beq {name}_near     ;@ p=0.99
    asl
    lda #{byte(SPREAD)}
    bcc {name}_times    ;@ p=0.5
    lda #{byte(-SPREAD)}
    bne {name}_times    ;@ always
{name}_near:
    lsr
    lda low+{c}
    ror
    tax
    bmi {name}_minus    ;@ p=0.5
    lda codes,x         ;@ aligned
    jmp {name}_times
{name}_minus:
    lda codes+$f00,x    ;@ aligned
{name}_times:
    beq {name}_zero     ;@ p=0.2
    tay
    ldx position
    lda attention+{MOST * c},x;@ aligned
    tax
    lda slopes_low,x    ;@ aligned
    sta product
    lda slopes_high,x   ;@ aligned
    sta product+1
    lda (product),y     ;@ p=0.35
{name}_zero:
    ldx position
    sta slopes+{MOST * c},x"""


def d_records(shape: Shape) -> str:
    """Bytes of the gradients of queries, keys and values, Q11, into the records."""
    parts = (
        ("d_queries", "patch_queries", f"records+{shape.part(1)}", shape.record, 4, True),
        ("d_keys", "patch_keys", "records", shape.record, 5, False),
        ("d_values", "patch_values", "dy_codes", shape.feature, 6, False),
    )
    return "\n".join(_d_record(shape, *part) for part in parts)


def _d_record(
    shape: Shape, name: str, patch: str, source: str, stride: int, part: int, mutes: bool
) -> str:
    """mutes: columns are asking positions, whose scores may have no gradient."""
    kernel, n = positions(shape), shape.positions
    begin, end = (f"mute_{kernel.name}", f"unmute_{kernel.name}") if mutes else ("", "")
    codes = "\n".join(
        f"{kernel.code(f'{name}_code', c)}\n"
        f"    sta records+{shape.part(part) + shape.record * c},y"
        for c in range(n)
    )
    return f"""\
; {name}: their bytes in the records
{name}:
    jsr {patch}
{f"    jsr {begin}" if mutes else ""}
    ldy #0
{name}_next:
{read_row(n, source, stride, shape.dim - 1)}
    jsr {kernel.name}
{codes}
    iny
    cpy #{shape.dim}
    beq {name}_end      ;@ times {shape.dim}
    jmp {name}_next
{name}_end:
{f"    jmp {end}" if mutes else "    rts"}"""


def d_x(shape: Shape) -> str:
    """The gradients of x, Q9, by those of queries, keys and values, then taken from the embeddings.
    """
    kernel, n, dim = features(shape), shape.positions, shape.dim
    sums = "\n".join(
        f"""\
{kernel.double(c)}
    sta part
    clc
    lda dx_low+{shape.feature * c},y
    adc low+{c}
    sta dx_low+{shape.feature * c},y
    lda dx_high+{shape.feature * c},y
    adc part
    sta dx_high+{shape.feature * c},y"""
        for c in range(n)
    )
    return f"""\
; d_x: dx_low, dx_high from the records' gradients and qkv_codes turned over; tok and pos less it
d_x:
    lda #0
d_x_part:
    sta offset
    clc
    adc #{shape.part(4)}
    tay
    jsr patch_features
    lda offset
    bne d_x_all         ;@ p=0.67
    jsr mute_{kernel.name} ; of queries
d_x_all:
    clc
    lda #<qkv_codes
    adc offset
    sta source
    lda #>qkv_codes
    adc #0
    sta source+1
    lda #0
    sta position        ; a feature here
d_x_next:
{follow_row(dim, "aligned" if shape.aligned else "p=0.1")}
    jsr {kernel.name}
    ldy position
{sums}
{add_to_word("source", str(shape.matrix))}
    inc position
    lda position
    cmp #{dim}
    beq d_x_done        ;@ times {dim}
    jmp d_x_next
d_x_done:
    jsr unmute_{kernel.name}
    lda offset
    clc
    adc #{dim}
    cmp #{3 * dim}
    beq d_x_end         ;@ times 3
    jmp d_x_part
d_x_end:
    rts"""


def update_embeddings(shape: Shape) -> str:
    """The gradients of x, Q9, taken from the embeddings, Q13: a rate of 1/16 where unshifted."""
    n, dim, scales = shape.positions, shape.dim, shape.scales
    return f"""\
; update_embeddings: tok and pos less dx
update_embeddings:
    lda #0
    sta position
{set_word("pos_at_low", "pos_low")}
{set_word("pos_at_high", "pos_high")}
{set_word("source", "dx_low")}
{set_word("slot", "dx_high")}
update_embeddings_next:
{point_at_token(shape)}
    ldy #{dim - 1}
update_embeddings_feature:
{_take("tok_at", scales.token)}
{_take("pos_at", scales.position)}
    dey
    bmi update_embeddings_row ;@ times {dim}
    jmp update_embeddings_feature
update_embeddings_row:
{add_to_word("pos_at_low", str(dim))}
{add_to_word("pos_at_high", str(dim))}
{add_to_word("source", str(shape.feature))}
{add_to_word("slot", str(shape.feature))}
    inc position
    lda position
    cmp #{n}
    beq update_embeddings_end ;@ times {n}
    jmp update_embeddings_next
update_embeddings_end:
    rts"""


def _take(name: str, amount: int) -> str:
    """A table's element less the gradient, shifted to the left, or to the right if negative."""
    shifts = min(16, abs(amount))
    shift = ["    asl part\n    rol part+1"] if amount > 0 else [
        "    lda part+1\n    asl\n    ror part+1\n    ror part"
    ]  # fmt: skip
    return lines(
        "    lda (source),y      ;@ aligned\n    sta part",
        "    lda (slot),y        ;@ aligned\n    sta part+1",
        *shift * shifts,
        f"    sec\n    lda ({name}_low),y ;@ p=0.1\n    sbc part\n    sta ({name}_low),y",
        f"    lda ({name}_high),y ;@ p=0.1\n    sbc part+1\n    sta ({name}_high),y",
    )

"""The forward pass: embeddings, queries, keys and values, attention, logits.

Each function is a routine; a step calls them in turn.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import add_to_word, lines, set_word
from anachron.kernels.mos6502.training.codes import HALF, LARGEST, half_product
from anachron.kernels.mos6502.training.products import Products
from anachron.kernels.mos6502.training.shape import MOST, Shape

LARGEST_SHARE = 0  # the magnitude of a probability of 1


def features(shape: Shape) -> Products:
    """Sums over features, a column a position: for queries, keys and values, scores, gradients of
    attention, and of x."""
    most = half_product(2 * LARGEST + max(HALF, shape.scales.scores // 2))
    return Products("sum_features", shape.dim, shape.positions, most)


def positions(shape: Shape) -> Products:
    """Sums over positions, a column a position: values by weights, and gradients of q, k, v."""
    constant = max(HALF, shape.scales.slopes // 2)
    most = half_product(max(LARGEST_SHARE + LARGEST, 2 * LARGEST + constant))
    return Products("sum_positions", shape.positions, shape.positions, most)


def ids(shape: Shape) -> Products:
    """Sums over features, a column an id: logits."""
    return Products("sum_logits", shape.dim, shape.vocab, half_product(2 * LARGEST + HALF))


def read_row(pieces: int, address: str, stride: int, most: int) -> str:
    """row = what Y, at most so large, points at in arrays that lie stride bytes apart."""
    return lines(
        *(
            f"    lda {address}+{stride * i},y ;@ index 0..{most}\n    sta row+{i}"
            for i in range(pieces)
        )
    )


def follow_row(size: int, claim: str = "aligned") -> str:
    """row = the bytes that `source` points at; Y ends behind them."""
    body = f"    lda (source),y      ;@ {claim}\n    sta row+{{0}}\n    iny"
    return lines("    ldy #0", *(body.format(i) for i in range(size)))


def embed(shape: Shape) -> str:
    """x = token + position: its bytes in Q10, itself, a quarter of Q8, in 16 bits."""
    rows = {"tok": "tok_at", "pos": "pos_at"}
    n, dim = shape.positions, shape.dim
    return f"""\
; embed: records' x (Q10), x_low, x_high (Q7) from the rows of tok and pos (Q13)
embed:
    lda #0
    sta position
{set_word("pos_at_low", "pos_low")}
{set_word("pos_at_high", "pos_high")}
{set_word("source", f"records+{shape.part(3)}")}
{set_word("slot", "x_low")}
{set_word("pointer", "x_high")}
embed_next:
{point_at_token(shape)}
    ldy #{dim - 1}
embed_feature:
    clc
    lda ({rows["tok"]}_low),y ;@ p=0.1
    adc ({rows["pos"]}_low),y ;@ p=0.1
    sta part
    lda ({rows["tok"]}_high),y ;@ p=0.1
    adc ({rows["pos"]}_high),y ;@ p=0.1
    tax
    lda pages_of_words,x ;@ aligned
    sta embed_code+2
    lda high_of_64ths,x ;@ aligned
    sta (pointer),y
    lda sixteenfold,x   ;@ aligned
    sta part+1
    lda low_of_64ths,x  ;@ aligned
    sta total
    ldx part
    lda sixteenths,x    ;@ aligned
    ora part+1
    tax
    lsr
    lsr
    ora total
    sta (slot),y
embed_code:
    lda codes,x         ;@ patched, aligned
    sta (source),y
    dey
    bpl embed_feature   ;@ times {dim}
{add_to_word("pos_at_low", str(dim))}
{add_to_word("pos_at_high", str(dim))}
{add_to_word("source", str(shape.record))}
{add_to_word("slot", str(shape.feature))}
{add_to_word("pointer", str(shape.feature))}
    inc position
    lda position
    cmp #{n}
    beq embed_end       ;@ times {n}
    jmp embed_next
embed_end:
    rts"""


def point_at_token(shape: Shape) -> str:
    """tok_at = the row of the token at `position`; uses A, X."""
    return """\
    ldx position
    lda token_rows_low,x;@ aligned
    sta tok_at_low
    lda token_rows_high,x;@ aligned
    sta tok_at_low+1
    clc
    lda tok_at_low
    adc #<(tok_high-tok_low)
    sta tok_at_high
    lda tok_at_low+1
    adc #>(tok_high-tok_low)
    sta tok_at_high+1"""


def qkv(shape: Shape) -> str:
    """Bytes of queries, keys and values, Q8, into the records."""
    kernel = features(shape)
    codes = "\n".join(
        f"{kernel.code('qkv_code', c)}\n    sta records+{shape.record * c},y"
        for c in range(shape.positions)
    )
    return f"""\
; qkv: q, k and v of the records: {3 * shape.dim} rows of qkv_codes times every x
qkv:
    ldy #{shape.part(3)}
    jsr patch_features
    ldy #0
qkv_next:
{read_row(shape.dim, "qkv_codes", shape.matrix, 3 * shape.dim - 1)}
    jsr {kernel.name}
{codes}
    iny
    cpy #{3 * shape.dim}
    beq qkv_end         ;@ times {3 * shape.dim}
    jmp qkv_next
qkv_end:
    rts"""


def attend(shape: Shape) -> str:
    """Attention's weights: each query times all keys, and their softmax."""
    kernel = features(shape)
    store = "\n".join(
        f"    lda rest+{c}\n    sta attention+{MOST * c},x" for c in range(shape.positions)
    )
    return f"""\
; attend: attention from queries times keys (Q6)
attend:
    ldy #{shape.part(1)}
    jsr patch_scores
    lda #0
    sta position
{set_word("source", "records")}
attend_next:
{follow_row(shape.dim)}
    jsr {kernel.name}
    jsr softmax_of_scores
    ldx position
{store}
{add_to_word("source", str(shape.record))}
    inc position
    lda position
    cmp #{shape.positions}
    beq attend_end      ;@ times {shape.positions}
    jmp attend_next
attend_end:
    rts"""


def mix(shape: Shape) -> str:
    """y = x + values times weights: its bytes in Q8."""
    kernel, n = positions(shape), shape.positions
    codes = "\n".join(
        f"""\
{kernel.high(c)}
    sta part
    clc
    lda low+{c}
    adc x_low+{shape.feature * c},y
    tax
    lda part
    adc x_high+{shape.feature * c},y
    and #15
    clc
    adc #>codes
    sta mix_code_{c}+2
mix_code_{c}:
    lda codes,x         ;@ patched, aligned
    sta y_codes+{shape.feature * c},y"""
        for c in range(n)
    )
    return f"""\
; mix: y_codes from x and the values of the records, by attention
mix:
    jsr patch_mix
    ldy #0
mix_next:
{read_row(n, f"records+{shape.part(2)}", shape.record, shape.dim - 1)}
    jsr {kernel.name}
{codes}
    iny
    cpy #{shape.dim}
    beq mix_end         ;@ times {shape.dim}
    jmp mix_next
mix_end:
    rts"""


def logits(shape: Shape) -> str:
    """Each position's logits, Q6, and what follows from them."""
    kernel = ids(shape)
    return f"""\
; output: of each position the logits, and its loss
output:
    lda #0
    sta position
{set_word("source", "y_codes")}
output_next:
{follow_row(shape.dim)}
    jsr {kernel.name}
    jsr softmax_of_logits
    jsr lose
{add_to_word("source", str(shape.feature))}
    inc position
    lda position
    cmp #{shape.positions}
    beq output_end      ;@ times {shape.positions}
    jmp output_next
output_end:
    rts"""


"""Queries, keys and values that were computed before: kept by position and token.

They depend on nothing else as long as no weight changes, and most steps of a training change none.
Only what is missing is multiplied: the columns of the kernel are those positions, as many as there
are, and an RTS stands where the next one would begin.

    known    MOST bytes a position: whether a token's are kept
    kept_by  of each position and token 3 * dim bytes
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import add_to_word, lines, set_word
from anachron.kernels.mos6502.training.forward import features, read_row
from anachron.kernels.mos6502.training.products import follow
from anachron.kernels.mos6502.training.shape import MOST, Shape

RTS = 0x60


def areas(shape: Shape) -> dict[str, int]:
    """Label -> bytes."""
    n = shape.positions
    return {"known": n * MOST, "kept_by": n * shape.vocab * 3 * shape.dim}


def tables(shape: Shape) -> dict[str, list[str]]:
    """Label -> words: where what is kept of a position begins, and how far a token's lies behind.
    """
    row = 3 * shape.dim
    return {
        "kept_of": [f"kept_by+{row * shape.vocab * p}" for p in range(shape.positions)],
        "kept_at": [str(row * token) for token in range(shape.vocab)],
    }


def recall(shape: Shape, addresses: str, pages: int) -> str:
    """Queries, keys and values of the records, computed or copied; everything is computed where
    weights have changed.

    addresses, pages  as of Products.patch_column
    """
    kernel, rows = features(shape), 3 * shape.dim
    stores = "\n".join(
        f"""\
recall_{c}:
{kernel.code("recall_code", c)}
recall_record_{c}:
    sta $ffff,y         ; patched
recall_kept_{c}:
    sta $ffff,y         ; patched"""
        for c in range(shape.positions)
    )
    return f"""\
; recall: q, k and v of the records;  uses everything
recall:
    lda stale
    beq recall_some     ;@ p=0
    lda #0
    sta stale
    ldx #{shape.positions * MOST}
recall_forget:
    dex
    sta known,x
    bne recall_forget   ;@ times {shape.positions * MOST}
    jmp qkv
recall_some:
    lda #0
    sta position
    sta n_missing
{set_word("slot", f"{kernel.name}_0")}
{set_word("product", "recall_0")}
{set_word("pointer", "records")}
recall_next:
    ldx position
    ldy tokens,x        ;@ aligned
    clc
    lda kept_of_low,x
    adc kept_at_low,y
    sta residue
    lda kept_of_high,x
    adc kept_at_high,y
    sta residue+1
    txa
    asl
    asl
    asl
    asl
    ora tokens,x        ;@ aligned
    tay
    lda known,y         ;@ aligned
    bne recall_copy     ;@ p=0.7
    lda #1
    sta known,y
    jsr recall_missing
    jmp recall_done
recall_copy:
    ldy #{rows - 1}
recall_byte:
    lda (residue),y     ;@ p=0.2
    sta (pointer),y
    dey
    lda (residue),y     ;@ p=0.2
    sta (pointer),y
    dey
    lda (residue),y     ;@ p=0.2
    sta (pointer),y
    dey
    bpl recall_byte     ;@ times {shape.dim}
recall_done:
{add_to_word("pointer", str(shape.record))}
    inc position
    lda position
    cmp #{shape.positions}
    beq recall_found    ;@ times {shape.positions}
    jmp recall_next
recall_found:
    lda n_missing
    bne recall_rows     ;@ p=0.9
    rts
recall_rows:
    ldy #0
    lda (slot),y        ; the next column is the last one's end
    pha
    lda (product),y
    pha
    lda #${RTS:02x}
    sta (slot),y
    sta (product),y
recall_row:
{read_row(shape.dim, "qkv_codes", shape.matrix, rows - 1)}
    jsr {kernel.name}
    jsr recall_0
    iny
    cpy #{rows}
    beq recall_end      ;@ times {rows}
    jmp recall_row
recall_end:
    ldy #0
    pla
    sta (product),y
    pla
    sta (slot),y
    rts
; recall_missing: the next column of the kernel, and of recall_0, is for `position`
recall_missing:
    inc n_missing
    clc
    lda pointer
    adc #{shape.part(3)}
    sta source
    lda pointer+1
    adc #0
    sta source+1
{_patch_store("record", "pointer")}
{_patch_store("kept", "residue")}
{add_to_word("product", "recall_1-recall_0")}
{kernel.patch_column(addresses, pages, follow(1))}
    rts
; recall_0: the codes of the sums to where they are wanted
{stores}
    rts"""


def _patch_store(name: str, address: str) -> str:
    return lines(
        f"    ldy #recall_{name}_0+1-recall_0",
        f"    lda {address}\n    sta (product),y\n    iny",
        f"    lda {address}+1\n    sta (product),y",
    )

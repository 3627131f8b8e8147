"""The weights' updates: outer products, taken from the weights as they come; then new codes."""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines, set_word
from anachron.kernels.mos6502.training.backward import LARGEST_GRADIENT
from anachron.kernels.mos6502.training.codes import LARGEST, half_product
from anachron.kernels.mos6502.training.forward import LARGEST_SHARE, read_row
from anachron.kernels.mos6502.training.products import Products
from anachron.kernels.mos6502.training.shape import Shape


def products(shape: Shape) -> Products:
    """Sums over positions, a column a feature: what is taken from queries', keys' and values'
    matrices."""
    constant = max(shape.scales.query, shape.scales.key, shape.scales.value) // 2
    return Products(
        "sum_updates", shape.positions, shape.dim, half_product(2 * LARGEST + constant)
    )


def output_products(shape: Shape) -> Products:
    """Sums over positions, a column an id: what is taken from the logits' matrix."""
    most = LARGEST_GRADIENT + LARGEST_SHARE + shape.scales.output // 2 + LARGEST
    return Products("sum_outputs", shape.positions, shape.vocab, half_product(most))


def runs(shape: Shape) -> list[tuple[int, int, int]]:
    """First part, parts and constant of each stretch of rows with one rate."""
    scales = shape.scales
    found: list[tuple[int, int, int]] = []
    for part, constant in enumerate((scales.query, scales.key, scales.value)):
        if found and found[-1][2] == constant:
            found[-1] = (found[-1][0], found[-1][1] + 1, constant)
        else:
            found.append((part, 1, constant))
    return found


def update_qkv(shape: Shape) -> dict[str, str]:
    """Label -> an update of queries', keys' and values' weights: one for those of one rate."""
    n = shape.positions
    return {
        f"update_qkv{first}": _update(
            shape,
            f"update_qkv{first}",
            products(shape),
            patch=f"patch_updates{first}",
            row=read_row(n, f"records+{shape.part(4)}", shape.record, 3 * shape.dim - 1),
            weights="qkv",
            stride=shape.matrix,
            rows=(first * shape.dim, (first + count) * shape.dim),
        )
        for first, count, _ in runs(shape)
    }


def update_output(shape: Shape) -> str:
    """The logits' weights less their gradients times y; the slots of their kernel are written."""
    return _update(
        shape,
        "update_output",
        output_products(shape),
        patch="patch_outputs",
        row=read_row(shape.positions, "y_codes", shape.feature, shape.dim - 1),
        weights="out",
        stride=shape.feature,
        rows=(0, shape.dim),
        end="    jmp patch_logits",
    )


def _update(
    shape: Shape,
    name: str,
    kernel: Products,
    *,
    patch: str,
    row: str,
    weights: str,
    stride: int,
    rows: tuple[int, int],
    end: str = "    rts",
) -> str:
    columns = "\n".join(
        f"""\
{kernel.double(c)}
    sta part
    sec
    lda {weights}_low+{stride * c},y ;@ index {rows[0]}..{rows[1] - 1}
    sbc low+{c}
    sta {weights}_low+{stride * c},y
    sta part+1
    lda {weights}_high+{stride * c},y ;@ index {rows[0]}..{rows[1] - 1}
    sbc part
    sta {weights}_high+{stride * c},y
    lsr                 ; the carry waits for ror
    tax
    lda pages_of_highs,x ;@ aligned
    sta {name}_code_{c}+2
    lda part+1
    ror
    tax
{name}_code_{c}:
    lda codes,x         ;@ patched, aligned
    sta {weights}_codes+{stride * c},y"""
        for c in range(kernel.columns)
    )
    return f"""\
; {name}: {weights}_low, {weights}_high, {weights}_codes
{name}:
    jsr {patch}
    ldy #{rows[0]}
{name}_next:
{row}
    jsr {kernel.name}
{columns}
    iny
    cpy #{rows[1]}
    beq {name}_end      ;@ times {rows[1] - rows[0]}
    jmp {name}_next
{name}_end:
{end}"""


def encode_weights(shape: Shape) -> str:
    """Codes of all matrices, once, before the first step."""
    parts = (("qkv", shape.dim * shape.matrix), ("out", shape.vocab * shape.feature))
    loops = (_encode(stem, size) for stem, size in parts)
    return lines(
        "; encode_all: qkv_codes, out_codes, and the slots of the logits;  uses A, X, Y",
        "encode_all:",
        *loops,
        "    jmp patch_logits",
    )


def _encode(stem: str, size: int) -> str:
    return f"""\
{set_word("source", f"{stem}_low")}
{set_word("slot", f"{stem}_high")}
{set_word("pointer", f"{stem}_codes")}
{set_word("total", str(size))}
    ldy #0
encode_{stem}:
    lda (slot),y
    lsr                 ; the carry waits for ror
    tax
    lda pages_of_highs,x ;@ aligned
    sta encode_{stem}_code+2
    lda (source),y
    ror
    tax
encode_{stem}_code:
    lda codes,x         ;@ patched, aligned
    sta (pointer),y
    inc source
    bne *+4
    inc source+1
    inc slot
    bne *+4
    inc slot+1
    inc pointer
    bne *+4
    inc pointer+1
    lda total
    bne *+4
    dec total+1
    dec total
    lda total
    ora total+1
    bne encode_{stem}   ;@ times {size}"""

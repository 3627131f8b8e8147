"""The zero page: every address that kernels share, assigned here and nowhere else.

The KERNAL keeps $90-$FF for itself; BASIC, which never comes back, had $02-$8F.
To add a variable: a row in ROWS.
Source: Commodore 64 Programmer's Reference Guide (1982), ch. 5, "C64 memory map".
"""

from __future__ import annotations

FIRST, END = 0x02, 0x90

ROWS = (
    ("product_low", 2, "pointer into the products' low bytes; its own low byte is a factor"),
    ("product_high", 2, "the same for the high bytes"),
    ("sum_a", 4, "sum of products of low bytes"),
    ("sum_b", 4, "sum of products of one low and one high byte"),
    ("sum_c", 3, "sum of products of high bytes"),
    ("count_a", 3, "sum of low bytes"),
    ("count_b", 3, "sum of high bytes"),
    ("operand_fix", 4, "what the operand of matvec takes from every sum of products"),
    ("correction", 6, "the same of an attention's vectors; sums of norms"),
    ("term", 6, "scratch of multi-byte sums"),
    ("total", 6, "an accumulator, low byte first"),
    ("factor_a", 2, "arguments of multiplications"),
    ("factor_b", 2, ""),
    ("divisor", 2, "of divide"),
    ("remainder", 3, "of divide and of isqrt"),
    ("root", 3, "of isqrt"),
    ("scratch", 10, "of multiply, the first two; then of a kernel between its calls"),
    ("source_low", 2, "a vector that a routine reads"),
    ("source_high", 2, ""),
    ("out_low", 2, "a vector that a routine writes"),
    ("out_high", 2, ""),
    ("row", 2, "the row of a matrix"),
    ("rows_left", 2, ""),
    ("pointer", 2, "scratch"),
    ("past_low", 2, "rows of earlier positions"),
    ("past_high", 2, ""),
    ("past_fix", 2, "their corrections"),
    ("query_low", 2, "an attention's query, at the head at work"),
    ("query_high", 2, ""),
    ("key_low", 2, "its keys"),
    ("key_high", 2, ""),
    ("key_fix", 2, "their corrections"),
    ("value_low", 2, "its values"),
    ("value_high", 2, ""),
    ("value_index", 1, "the feature of the values at work"),
    ("value_first", 1, "the head's first"),
    ("first", 1, "256 - the number of rows seen"),
    ("heads_left", 1, ""),
    ("group_left", 1, "heads that still share these keys and values"),
    ("largest", 5, "the largest score so far"),
    ("index", 1, "scratch of loops"),
    ("enough", 4, "sampling: the weight that top-p asks for"),
    ("kept", 4, "the weight kept so far"),
    ("cut_rank", 1, "ranks above are dropped"),
    ("cut_left", 2, "how many of that rank are kept"),
    ("id", 2, "the token at work"),
)


def assign() -> dict[str, int]:
    """name -> address."""
    addresses, at = {}, FIRST
    for name, size, _ in ROWS:
        addresses[name] = at
        at += size
    if at > END:
        raise ValueError(f"the zero page overflows by {at - END} bytes: remove a row")
    return addresses


def definitions() -> str:
    """The assignment as assembly text."""
    addresses = assign()
    return "\n".join(
        f"{name} = ${addresses[name]:02x}".ljust(24) + (f"; {why}" if why else "")
        for name, _, why in ROWS
    )

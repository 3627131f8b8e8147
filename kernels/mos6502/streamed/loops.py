"""Loops over the rows that a head sees -> assembly text."""

from __future__ import annotations


def count_rows(name: str) -> str:
    """rows_left counts up to 0 from less <name>_seen."""
    return (
        f"    sec\n    lda #0\n    sbc {name}_seen\n    sta rows_left\n    lda #0\n"
        f"    sbc {name}_seen+1\n    sta rows_left+1"
    )


def next_row(loop: str) -> str:
    """Back to `loop` while rows are left."""
    return (
        "    inc rows_left\n    bne *+4             ;@ p=0.99\n    inc rows_left+1\n"
        "    lda rows_left\n    ora rows_left+1\n"
        f"    beq {loop}_done     ;@ times seen\n    jmp {loop}\n{loop}_done:"
    )

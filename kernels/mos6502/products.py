"""A word by a word, byte by byte, by the products' table -> assembly text.

products_low, products_high hold T(n); less_product_low and less_product_high hold T(n) - 32640
(fast_norm.py fills them): two looks and a subtraction are a product, and what only one of its
factors decides.
"""

from __future__ import annotations


def product_by_byte(label: str, low: str, high: str, p: float) -> str:
    """c * y + T(c): c the byte that the operands at <label>_low, _high are aimed by, y in Y.

    p  how often c and y sum to more than 255
    """
    return f"""\
    sec
{label}_low:
    lda products_low,y      ;@ p={p}
    sbc less_product_low,y  ;@ aligned
    sta {low}
{label}_high:
    lda products_high,y     ;@ p={p}
    sbc less_product_high,y ;@ aligned
    sta {high}"""


def add_middle(source: str) -> str:
    """A product of two bytes in the middle of `total`, of 4."""
    return f"""\
    clc
    lda total+1
    adc {source}
    sta total+1
    lda total+2
    adc {source}+1
    sta total+2
    bcc *+4             ;@ p=0.7
    inc total+3"""

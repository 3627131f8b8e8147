"""A tokenizer's characters and pieces as the C64 types and prints them: PETSCII."""

from __future__ import annotations

import numpy as np

from anachron.compiler.targets.mos6502.sections import byte_lines
from anachron.emulators.mos6502 import petscii
from anachron.kernels.arithmetic import Array


def message(text: str) -> bytes:
    """A text in the set of small letters and capitals."""
    return petscii.encode(text, lower=True)


def character_ids(ids: Array) -> Array:
    """Token ids by ASCII code -> by the PETSCII code that the keyboard gives; -1 is dropped.

    Where several characters have one code, the one that the key shows wins.
    """
    typed = np.full(256, -1, np.int64)
    for code in range(256):
        shown = petscii.decode(bytes([code]), lower=True)
        if len(shown) == 1 and shown.isascii():
            typed[code] = ids[ord(shown)]
    for code in range(32, 127):
        (typed_code,) = message(chr(code))
        shown = petscii.decode(bytes([typed_code]), lower=True)
        if not shown.isascii():
            typed[typed_code] = ids[code]
    return typed


def are_short(pieces: tuple[bytes, ...], token_bytes: int) -> bool:
    """Their lengths are bytes, and so few that one may add them up."""
    return token_bytes == 1 and all(len(text) < 256 for text in _shown(pieces))


def piece_section(pieces: tuple[bytes, ...], measured: bool) -> str:
    """`pieces`: the length of each token's text, or where it begins and, behind the last, ends."""
    texts = _shown(pieces)
    starts = np.cumsum([0] + [len(text) for text in texts])
    table = (
        byte_lines(bytes(len(text) for text in texts))
        if measured
        else "\n".join(f"    .word piece_texts+{start}" for start in starts)
    )
    return f"pieces:\n{table}\npiece_texts:\n{byte_lines(b''.join(texts))}"


def _shown(pieces: tuple[bytes, ...]) -> list[bytes]:
    return [message(piece.decode("utf-8", "replace")) for piece in pieces]

"""Pixels with a palette -> a PNG file's bytes.

Source: W3C, Portable Network Graphics (PNG) Specification, second edition, 4.1.2, 5.3 and 11.2.
"""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE_COLOURS = 3  # the header's colour type: each pixel is an index


def pack(pixels: np.ndarray, palette: bytes) -> bytes:
    """The file for pixels of palette entries.

    pixels   (height, width) uint8, each below the number of colours
    palette  3 bytes a colour: red, green, blue
    """
    height, width = pixels.shape
    if height == 0 or width == 0 or int(pixels.max()) >= len(palette) // 3:
        raise ValueError(f"png: {width} x {height} pixels up to colour {pixels.max(initial=0)}: "
                         f"at least one pixel, and colours below {len(palette) // 3} allowed")
    header = struct.pack(">IIBBBBB", width, height, 8, PALETTE_COLOURS, 0, 0, 0)
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = pixels
    return (SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"PLTE", palette)
            + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

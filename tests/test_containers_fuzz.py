"""Damaged containers, thousands of them: one ValueError line or a record, and never a long wait."""
import random

import pytest

from anachron.emulators.containers import crt, d64, labels, lda, prg

SEED = 64
BANKS = {(0, crt.ROML): b"lo", (0, crt.ROMH): b"hi"}


def use_prg(data: bytes) -> None:
    program = prg.parse(data, "image")
    assert program.end <= 0x10000
    prg.sys_address(program.data)


def use_d64(data: bytes) -> None:
    disk = d64.parse(data, "image")
    disk.blocks_free()
    for entry in disk.entries():
        assert len(disk.read_entry(entry)) <= 768 * 254


def use_crt(data: bytes) -> None:
    low, high = crt.parse(data, "image").roms()
    assert len(low) == len(high) <= 64 * 8192


def use_lda(data: bytes) -> None:
    for address, part in lda.parse(data, "image").blocks:
        assert address + len(part) <= 0x10000


def use_labels(data: bytes) -> None:
    assert all(0 <= a < 0x10000 for a in labels.parse(data.decode("latin-1"), "image").values())


CASES = {
    "prg": (use_prg, prg.pack(0x0801, prg.basic_stub(2061)), 4000),
    "d64": (use_d64, d64.pack([(f"F{n}", bytes(254 * n)) for n in range(12)]), 5000),
    "crt": (use_crt, crt.pack(crt.easyflash(BANKS)), 2000),
    "lda": (use_lda, lda.pack([(0o1000, bytes(range(256)) * 5)], 0o1000), 3000),
    "labels": (use_labels, b"al C:c000 .name\n; 001000 OTHER\n" * 4, 2000),
}


def damage(rng: random.Random, data: bytes, kind: str) -> bytes:
    """A few changes: bytes, a piece cut out, doubled or moved; half of them where the links are."""
    image = bytearray(data)
    hot = [d64.FIRST_BLOCK[track - 1] * 256 for track in (17, 18)] if kind == "d64" else [0]
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        start = rng.choice(hot) + 256 * rng.randrange(4) if rng.random() < 0.5 else 0
        at = min(start + rng.randrange(64 if start or kind != "d64" else len(image)),
                 len(image) - 1)
        match rng.randrange(12):
            case 0:
                del image[rng.randrange(len(image)):]
                image = image or bytearray(b"\0")
            case 1 if len(image) < 4 * len(data):
                image += image[at:at + 64]
            case 2:
                image[at:at + 8] = rng.randbytes(8)
            case _:
                image[at] = rng.choice((0, 1, 2, 17, 18, 127, 128, 255, rng.randrange(256)))
    return bytes(image)


@pytest.mark.parametrize("kind", CASES)
def test_damaged_image_is_one_line_of_error_or_is_read(kind: str) -> None:
    use, good, count = CASES[kind]
    use(good)
    refused = 0
    for number in range(count):
        image = damage(random.Random(f"{SEED} {kind} {number}"), good, kind)
        try:
            use(image)
        except ValueError as error:
            refused += 1
            assert str(error).startswith("image:") and "\n" not in str(error), (kind, number)
    assert refused > 0

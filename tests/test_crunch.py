"""A crunched program unpacks itself, on the machine, to the same memory."""
import random

import pytest

from anachron.emulators import create
from anachron.emulators.containers import prg
from anachron.emulators.containers.crunch import crunch


def sample(kind: str, size: int) -> bytes:
    rng = random.Random(kind)
    words = [rng.randbytes(rng.randrange(3, 40)) for _ in range(40)]
    match kind:
        case "zeros":
            return bytes(size)
        case "text":
            return b"".join(rng.choices(words, k=size // 4))[:size]
        case "runs":
            return b"".join(bytes([rng.randrange(256)]) * rng.randrange(1, 300)
                            for _ in range(size // 100))[:size]
    return bytes(rng.choices(range(4), k=size))


@pytest.mark.parametrize(("kind", "size", "load"), [
    ("zeros", 60_000, 0x0801), ("text", 30_000, 0x0801), ("runs", 20_000, 0x2000),
    ("nibbles", 5_000, 0x0400), ("text", 0xFF00 - 0x0801, 0x0801), ("text", 3000, 0xC000)])
def test_crunched_program_is_itself_again(kind: str, size: int, load: int) -> None:
    data = sample(kind, size)
    entry = load + len(data)
    if entry < 0xFF00 - 1:
        data += b"\x02"  # jam, so that the machine stops where it was told to go
    else:
        data, entry = data[:-1] + b"\x02", load + len(data) - 1
    packed = crunch(prg.Prg(load, data), entry)
    assert len(packed) < len(data)
    machine = create("c64")
    machine.insert(prg.parse(packed), "packed")
    machine.poke(1, 0x37)
    machine.run(max_cycles=20_000_000, until=entry)
    assert machine.registers["pc"] == entry
    assert bytes(machine.ram[load:load + len(data)]) == data


def test_what_does_not_get_smaller_is_refused() -> None:
    with pytest.raises(ValueError, match="leave this program unpacked"):
        crunch(prg.Prg(0x0801, random.Random(1).randbytes(2000)), 0x0801)


@pytest.mark.parametrize("load", [0x0300, 0xFE00])
def test_what_lies_where_the_unpacker_works_is_refused(load: int) -> None:
    with pytest.raises(ValueError, match="can be unpacked"):
        crunch(prg.Prg(load, bytes(0x200)), load)

"""The .map file beside an image: by address, by size, the zero page, what is free."""

from pathlib import Path

import pytest

import anachron.compiler as ac


def read_map(path: Path) -> dict[str, list[tuple[int, int, int, str]]]:
    """title -> rows (from, to, bytes, object)."""
    parts: dict[str, list[tuple[int, int, int, str]]] = {}
    title = ""
    for line in path.read_text().splitlines():
        words = line.split()
        if line and not line.startswith(" "):
            title = line
            parts[title] = []
        elif words and words[0].strip("$").isalnum() and words[0] != "from":
            radix = 16 if words[0][0] == "$" else 8
            first, last = (int(word.strip("$"), radix) for word in words[:2])
            parts[title].append((first, last, int(words[2].replace(",", "")), words[-1]))
    return parts


@pytest.mark.parametrize("machine, suffix", [("c64", ".prg"), ("pdp11/34a", ".lda")])
def test_a_map_accounts_for_every_byte(tmp_path: Path, machine: str, suffix: str) -> None:
    image = ac.build(ac.quantize(ac.load("reverse")), machine)
    image.save(tmp_path / f"x{suffix}")
    parts = read_map(tmp_path / "x.map")
    free_title = list(parts)[-1]
    by_address, by_size, free = parts["by address"], parts["by size"], parts[free_title]
    assert sorted(by_address) == by_address and set(by_size) == set(by_address)
    assert [row[2] for row in by_size] == sorted((row[2] for row in by_address), reverse=True)
    assert all(last - first + 1 == size for first, last, size, _ in by_address + free)
    total = sum(end - start for start, end in image.regions)
    unused = sum(size for _, _, size, _ in free)
    assert free_title == f"free: {unused:,} bytes"
    # Some memory has two owners: a routine that runs once, and what lies there afterwards.
    taken = {byte for first, last, _, _ in by_address for byte in range(first, last + 1)}
    assert len(taken) + unused == total


def test_a_c64_map_has_the_zero_page(tmp_path: Path) -> None:
    image = ac.build(ac.quantize(ac.load("reverse")), "c64")
    image.save(tmp_path / "x.prg")
    rows = read_map(tmp_path / "x.map")["zero page"]
    assert {name: first for first, _, _, name in rows}["pointer"] == image.symbols["pointer"]

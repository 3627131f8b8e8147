"""A kernel's way through a step, and what warps in turn take for it."""

from __future__ import annotations

import pytest

from anachron.compiler.targets.cuda.latency import Instruction
from anachron.compiler.targets.cuda.training.multiprocessor import find_loop, follow


def make(opcode: str, target: int | None = None, predicate: str = "", **rest) -> Instruction:
    control = {"stall": 1, "writes": None, "reads": None, "waits": 0} | rest
    return Instruction(opcode, predicate, target, **control)


def test_the_way_is_the_longest_through_the_innermost_loop_that_multiplies() -> None:
    """Past what is skipped, over a block that lies behind the end, and not out of the loop."""
    text = [
        make("MOV"),  # 0: of the outer loop
        make("FFMA"),  # 1: the loop
        make("BRA", 4, "@P0"),  # skips one line
        make("IADD3"),
        make("BRA", 10),  # 4: out of line
        make("BRA.DIV", 12),  # 5: not gone
        make("FFMA"),
        make("BRA", 1, "@P1"),
        make("BRA", 0, "@P2"),
        make("EXIT"),
        make("FMUL"),  # 10
        make("BRA", 5),
        make("NOP"),
    ]
    loop = find_loop(text)
    kinds = [instruction.opcode for instruction in loop.instructions]
    assert kinds == ["FFMA", "BRA", "IADD3", "BRA", "FMUL", "BRA", "BRA.DIV", "FFMA", "BRA"]
    assert loop.taken == (False, False, False, True, False, True, False, False, True)
    with pytest.raises(ValueError, match="no loop that multiplies"):
        find_loop([make("IADD3"), make("BRA", 0, "@P0"), make("EXIT")])


@pytest.mark.parametrize(
    ("opcode", "rest", "warps", "clocks"),
    [
        ("FFMA", {}, 4, 0.25),  # each scheduler issues one a clock
        ("IADD3", {}, 4, 0.5),  # half a warp a clock
        ("FFMA", {"stall": 4}, 4, 1.0),  # alone on a scheduler, it waits for itself
        ("FFMA", {"stall": 4}, 16, 0.25),  # and four do not
        ("STS", {}, 16, 3.0),  # one shared memory for all, three wavefronts
    ],
)
def test_what_bounds_a_warp_is_what_it_takes(
    opcode: str, rest: dict[str, int], warps: int, clocks: float
) -> None:
    """Of each of its instructions; the loop's own branch is among them."""
    body = [make("FFMA"), *(make(opcode, **rest) for _ in range(400)), make("BRA", 0, "@P0")]
    found = follow(find_loop([*body, make("EXIT")]), warps, lambda name, size: 3.0, 1)
    assert found / 400 == pytest.approx(clocks, rel=0.1)

"""Placement: what lives at the same time never shares an address."""

from hypothesis import given
from hypothesis import strategies as st

from anachron.compiler.memory import Placed, find_free, find_overlap, pack
from anachron.compiler.schedule import Lifetime

SPANS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=20
)


@given(SPANS)
def test_buffers_that_meet_never_overlap(spans: list[tuple[int, int, int]]) -> None:
    lives = [
        Lifetime(f"v{i}", size, 8, first, first + length)
        for i, (size, first, length) in enumerate(spans)
    ]
    sizes = {life.name: life.size for life in lives}
    offsets, total = pack(lives, sizes)
    for a in lives:
        assert 0 <= offsets[a.name] <= total - a.size
        for b in lives:
            if a.name < b.name and a.first <= b.last and b.first <= a.last:
                low, high = sorted((a, b), key=lambda life: offsets[life.name])
                assert offsets[low.name] + low.size <= offsets[high.name]


def test_buffers_one_after_the_other_share() -> None:
    lives = [Lifetime("a", 10, 8, 0, 1), Lifetime("b", 10, 8, 2, 3)]
    assert pack(lives, {"a": 10, "b": 10})[1] == 10


def test_free_space_is_what_objects_leave() -> None:
    objects = [Placed("a", 10, 5, "code"), Placed("b", 30, 100, "table")]
    assert find_free(objects, [(0, 20), (25, 50)]) == [(0, 10), (15, 20), (25, 30)]


def test_an_overlap_is_found() -> None:
    a, b = Placed("a", 0, 11, "code"), Placed("b", 10, 1, "code")
    assert find_overlap([b, a]) == (a, b)
    assert find_overlap([a, Placed("c", 11, 5, "code")]) is None

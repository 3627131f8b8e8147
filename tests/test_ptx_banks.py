"""How many wavefronts an access to shared memory takes."""

from __future__ import annotations

import numpy as np
import pytest

from anachron.emulators.ptx import load
from anachron.emulators.ptx.banks import Wavefronts, count_wavefronts

LANES = np.arange(32)


@pytest.mark.parametrize(
    ("words", "width", "least", "most"),
    [
        (LANES, 1, 1, 1),
        (LANES * 0, 1, 1, 1),  # all the same word
        (LANES * 2, 1, 2, 2),
        (LANES * 32, 1, 32, 32),
        (LANES * 33, 1, 1, 1),
        (LANES % 16 * 2, 2, 1, 2),  # the halves read the same
        (LANES * 2, 2, 2, 2),
        (LANES * 4, 4, 4, 4),
        (LANES % 8 * 4, 4, 1, 4),
        (LANES * 0, 4, 1, 4),
        (LANES % 8 * 32, 4, 8, 32),  # all in the same four banks
    ],
)
def test_wavefronts_are_counted(words: np.ndarray, width: int, least: int, most: int) -> None:
    assert count_wavefronts(words, LANES, width).tolist() == [least, most]


def test_a_launch_s_accesses_are_watched() -> None:
    text = """
.entry some() {
    .reg .b32 %r<4>;
    mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 3;
    st.shared.u32 [%r2], %r1;
    bar.sync 0;
    ld.shared.v2.u32 {%r1, %r3}, [%r2];
    ret;
}"""
    seen = Wavefronts()
    load(text).launch(threads=64, shared=512, watch=seen)
    assert dict(seen.accesses) == {("st", 4): 2, ("ld", 8): 2}
    assert seen.mean("st", 4) == (2, 2) and seen.mean("ld", 8) == (2, 2)
    assert seen.mean("ld", 16) == (1, 4)  # never met

"""The kernel to read first, in Numba's simulator: another process, because Numba asks but once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from anachron.kernels.cuda.plain import THREADS, next_id
from anachron.kernels.reference.matvec import matvec
from anachron.kernels.reference.sampling import argmax

random = np.random.default_rng(0)
for rows, columns, largest in ((1, 1, 127), (64, 7, 127), (100, 32, 127), (65, 64, 1), (130, 3, 0)):
    x = random.integers(-(1 << 15), 1 << 15, columns).astype(np.int16)
    weight = random.integers(-largest - 1, largest + 1, (rows, columns)).astype(np.int8)
    if not largest:
        weight[:] = 0  # all logits are equal: the first id wins
    bias = random.integers(-1000, 1000, rows).astype(np.int32) * (largest > 0)
    logits, chosen = np.zeros(rows, np.int16), np.zeros(1, np.int32)
    next_id[1, THREADS](x, weight, bias, 7, logits, chosen)
    shift = np.full(rows, 7)
    wanted = matvec(x[None].astype(np.int64), weight=weight, bias=bias, shift=shift, bits=16)[0]
    assert (logits == wanted).all(), (rows, columns)
    assert chosen[0] == argmax(wanted, first_id=0), (rows, columns)
print("equal")
"""


def test_the_plain_kernel_is_the_reference() -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    if "ImportError" in done.stderr or "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"Numba's simulator is not to be had: {done.stderr.splitlines()[-1]}")
    assert done.stdout.strip() == "equal", done.stderr[-2000:]

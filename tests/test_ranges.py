"""What is proven of ranges holds for whatever goes in; what cannot be proven is refused."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.fixed import FixedModel, Op, Value, as_array
from anachron.compiler.ranges import analyse
from anachron.compiler.targets.reference.target import Session
from anachron.kernels.arithmetic import Fixed

sys.path.insert(0, str(Path(__file__).parent))
from random_models import random_text


def loud(fixed: FixedModel, rng: np.random.Generator) -> FixedModel:
    """The same graph with random integers in every table, matrix and bias: far from calibrated."""

    def redraw(op: Op) -> Op:
        constants = dict(op.constants)
        for role in constants:
            if role in ("weight", "gain") or (role == "table" and op.contract == "embed"):
                constants[role] = as_array(rng.integers(-128, 128, constants[role].shape), np.int8)
            if role == "bias" and op.contract == "matvec":
                constants[role] = as_array(rng.integers(-(2**20), 2**20, op.value.size), np.int32)
        return replace(op, constants=constants)

    return replace(fixed, ops=tuple(redraw(op) for op in fixed.ops))


@pytest.mark.parametrize("seed", range(24))
def test_no_value_leaves_its_proven_bounds(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    path.write_text(random_text(seed))
    rng = np.random.default_rng(seed)
    fixed = ac.quantize(ac.load(path))
    for model in (fixed, loud(fixed, rng)):
        ranges = analyse(model)
        for _ in range(5):
            tokens = rng.integers(0, model.vocab_size, model.seq_len).tolist()
            for name, rows in Session(model).step(tokens).items():
                bound = ranges.values[name]
                assert (bound.lo <= rows).all() and (rows <= bound.hi).all(), name
                assert np.sqrt((rows.astype(float) ** 2).sum(1)).max() <= bound.norm + 1e-6, name


@pytest.mark.parametrize("seed", range(24))
def test_no_sum_leaves_its_proven_bounds(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    path.write_text(random_text(seed))
    rng = np.random.default_rng(seed)
    model = loud(ac.quantize(ac.load(path)), rng)
    ranges = analyse(model)
    values = Session(model).step(rng.integers(0, model.vocab_size, model.seq_len).tolist())
    for op in model.ops:
        proven = ranges.accumulators[op.name]
        if op.contract == "matvec":
            terms = op.constants["weight"].astype(np.int64)[None] * values[op.inputs[0]][:, None]
            sums = terms.sum(-1) + op.constants["bias"]
            assert (proven["rows_lo"] <= sums).all() and (sums <= proven["rows_hi"]).all(), op.name
            running = np.abs(terms.cumsum(-1)).max()
            assert running <= proven["sum"], op.name
        if op.contract == "attention":
            size = op.value.size // op.attributes["heads"]
            q = values[op.inputs[0]].reshape(model.seq_len, -1, size)
            k = values[op.inputs[1]].reshape(model.seq_len, -1, size)
            k = np.repeat(k, op.attributes["heads"] // op.attributes["kv_heads"], 1)
            assert np.abs(np.einsum("ihd,jhd->hij", q, k)).max() <= proven["score"], op.name
        if op.contract == "rms_norm":
            small = values[op.inputs[0]] >> op.attributes["pre_shift"]
            assert (small**2).sum(-1).max() <= proven["squares"], op.name


def test_a_sum_that_may_leave_32_bits_is_refused_by_name() -> None:
    form = Fixed(16, 8)
    table = as_array(np.full((4, 600), 32767), np.int16)
    embed = Op("embed", ("token",), Value("tok", 600, form), {"table": table}, {"shift": 0})
    constants = {
        "weight": as_array(np.full((4, 600), -128), np.int8),
        "bias": as_array(np.zeros(4), np.int32),
        "shift": as_array(np.full(4, 8), np.int8),
    }
    matrix = Op("matvec", ("tok",), Value("logits", 4, form), constants)
    reverse = ac.quantize(ac.load("reverse"))
    model = replace(reverse, ops=(embed, matrix))
    with pytest.raises(OverflowError, match="logits: its sums may reach 2,516,505,600"):
        analyse(model)

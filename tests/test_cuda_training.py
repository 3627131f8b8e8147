"""Thousands of trainings in one launch: every integer, report and test is the reference's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.autodiff import differentiate
from anachron.compiler.cli import main
from anachron.compiler.learning_rates import at_rate
from anachron.compiler.log_training import train_log
from anachron.compiler.logarithms import lower_step
from anachron.compiler.run import RunError
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.inspection import inspect
from anachron.compiler.targets.cuda.training import throughput
from anachron.compiler.targets.cuda.training.codes import find_words
from anachron.compiler.targets.cuda.training.kernel import write_training
from anachron.compiler.targets.cuda.training.replicas import (
    ReplicaKernel,
    build_replicas,
    check,
    choose_checked,
    interpret,
)
from anachron.compiler.targets.cuda.training.step import StepLowering
from anachron.emulators.ptx import load
from anachron.kernels.arithmetic import wrap

compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)
TWO = """\
model two
size dim = 12, seq_len = 5, vocab_size = 7, hidden = 9
tokenizer characters("abcdefg")
task sort
train sgd(steps = 20, rate = 1/4, decay = 1, window = 2)
x = embed(token, dim) + embed(position, dim)
q = linear(x, dim)
k = linear(x, 6)
v = linear(x, 6)
x = x + attention(q, k, v, heads = 4, kv_heads = 2)
x = x + linear(relu(linear(x, hidden, bias)), dim, bias)
logits = linear(x, vocab_size)
"""
NEXT = """\
model next
size dim = 8, seq_len = 6, vocab_size = 27
tokenizer characters("abcdefghijklmnopqrstuvwxyz ")
task next(corpus = "corpus.txt")
train sgd(steps = 20, rate = 1/4, window = 3)
x = embed(token, dim) + embed(position, dim)
y = x + attention(linear(x, dim), linear(x, dim), linear(x, dim), heads = 2, causal)
logits = linear(y, vocab_size)
"""


RATES = (1 / 8, 1 / 3, 4.0)  # beside the recipe's: the last drowns what is learned


@cache
def reverse(steps: int) -> ReplicaKernel:
    return build_replicas(ac.load("reverse"), steps, rates=RATES)


def load_text(folder: Path, text: str) -> ac.Model:
    (folder / "corpus.txt").write_text("the quick brown fox jumps over the lazy dog")
    (folder / "some.model").write_text(text)
    return ac.load(str(folder / "some.model"))


@compiles
def test_seeds_learn_as_the_reference_in_any_order_of_warps() -> None:
    kernel = reverse(6)
    counts = set()
    for schedule in (None, 3):
        done = interpret(kernel, [0, 1, 2, 3, 4], schedule)  # more than there are warps
        check(kernel, done.trainings)
        counts.add(done.instructions)
    assert len(counts) == 1
    wanted = train_log(kernel.model, 6, [3])[0]
    assert done.trainings[3].sha256 == wanted.sha256
    assert done.trainings[3].transcript == wanted.transcript
    assert len({training.sha256 for training in done.trainings}) == 5


@compiles
@pytest.mark.parametrize(("text", "steps"), [(TWO, 5), (NEXT, 4)])
def test_other_models_and_tasks_learn_as_the_reference(
    text: str, steps: int, tmp_path: Path
) -> None:
    kernel = build_replicas(load_text(tmp_path, text), steps, rates=[1 / 9])
    done = interpret(kernel, [0, 7, 7], rates=[1 / 4, 1 / 4, 1 / 9])
    check(kernel, done.trainings)
    assert all(training.backward for training in done.trainings)
    assert len({training.sha256 for training in done.trainings}) == 3


@compiles
@pytest.mark.parametrize("program", ["copy", "sort", "sum", "count"])
def test_programs_learn_as_the_reference(program: str) -> None:
    """At their own rates and at one whose products are beyond the largest, and no spills."""
    kernel = build_replicas(ac.load(program), 3, tests=False, rates=[4.0])
    done = interpret(kernel, [0, 1], rates=[kernel.rate, 4.0])
    check(kernel, done.trainings)
    try:
        found = inspect(kernel.ptx)
    except Absent as reason:
        pytest.skip(str(reason))
    assert found.faults == () and found.registers * 32 * kernel.text.warps <= 1 << 16


@compiles
def test_every_training_has_a_rate_of_its_own() -> None:
    """One kernel, all the rates in one launch: each as the reference with that recipe."""
    kernel = reverse(6)
    rates = [RATES[0], 1 / 2, RATES[1], RATES[2], 1 / 2]
    done = interpret(kernel, [5, 5, 5, 5, 6], rates=rates)
    for training, rate in zip(done.trainings, rates, strict=True):
        (wanted,) = train_log(at_rate(kernel.model, rate), 6, [training.seed])
        assert training.sha256 == wanted.sha256
        assert training.transcript == wanted.transcript
        assert training.model.recipe["rate"] == rate
    assert len({training.sha256 for training in done.trainings}) == 5
    wrong = replace(done.trainings[0], model=done.trainings[1].model)
    with pytest.raises(RunError, match=r"seed 5, rate 0\.5: .* is not the reference's"):
        check(kernel, [wrong])


def test_the_first_trainings_of_each_rate_are_held_to_the_reference() -> None:
    model = ac.load("reverse")
    few = train_log(model, 1, range(6)) + train_log(at_rate(model, 1.0), 1, range(6))
    chosen = [(t.model.recipe["rate"], t.seed) for t in choose_checked(few)]
    assert chosen == [(rate, seed) for rate in (1 / 2, 1.0) for seed in range(4)]


@pytest.mark.parametrize("amount", [-40, -31, -3, 0, 5, 31, 40])
def test_a_table_s_shift_is_two(amount: int) -> None:
    log = lower_step(differentiate(ac.load("reverse")))
    (op,) = [u for u in log.updates if u.name == "tok.weight"]
    down, up = find_words(replace(log, updates=(replace(op, attributes={"amount": amount}),)), 0)
    assert 0 <= down < 32 and 0 <= up < 32
    for number in (-32768, -5, 1, 32767):
        wanted = number << amount if amount > 0 else number >> -amount
        assert wrap(np.array((number >> down) << up), 16) == wrap(np.array(wanted), 16)


@compiles
def test_rates_that_it_was_not_built_for_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"a rate of 3: the kernel was built for \[0\.125"):
        interpret(reverse(6), [0], rates=[3.0])
    with pytest.raises(ValueError, match="1 rates for 2 seeds"):
        interpret(reverse(6), [0, 1], rates=[1 / 2])


@compiles
def test_a_step_leaves_room_for_the_goal() -> None:
    bounds = throughput.find_step_bounds(ac.load("reverse"))
    assert bounds.steps_per_second > 50e6
    assert bounds.trainings >= 12


@compiles
def test_the_estimate_meets_the_goal_in_its_worst_case() -> None:
    """And one warp alone waits: more of them take less of a multiprocessor's time each."""
    try:
        found = throughput.estimate_steps(reverse(6))
    except Absent as reason:
        pytest.skip(str(reason))
    lo, expected, hi = found.steps_per_second
    assert 50e6 < lo < expected < hi and expected > 100e6
    large = replace(reverse(6).text, warp_bytes=200_000)
    alone = throughput.estimate_steps(replace(reverse(6), text=large))
    assert alone.trainings == 1 and alone.clocks[1] > 2 * found.clocks[1]


@compiles
def test_the_machine_s_own_code_keeps_everything_in_registers() -> None:
    try:
        found = inspect(reverse(6).ptx)
    except Absent as reason:
        pytest.skip(str(reason))
    assert found.faults == ()
    assert found.registers * 32 * reverse(6).text.warps <= 1 << 16
    assert not re.search(r"\.f64|\.local|approx", reverse(6).ptx)
    floating = set(re.findall(r"\t([\w.]+\.f32)\b", reverse(6).ptx))
    moved = {name for name in floating if name.split(".")[0] in ("ld", "st", "mov", "selp")}
    assert floating - moved == {"fma.rn.f32", "mul.rn.f32"}


@compiles
def test_without_a_barrier_of_the_warp_a_step_races() -> None:
    """But for two at most: there each lane reads what it has written itself."""
    kernel = build_replicas(ac.load("reverse"), 2, tests=False)
    ptx = kernel.ptx
    places = [match.span() for match in re.finditer(r"bar\.warp\.sync\s+-1;", ptx)]
    raced = 0
    for start, end in places:
        without = replace(kernel, ptx=ptx[:start] + ptx[end:])
        try:
            interpret(without, [0])
        except RunError as error:
            assert "races" in str(error)
            raced += 1
    assert raced >= len(places) - 2 and len(places) > 12


@compiles
def test_a_weight_that_differs_is_a_defect() -> None:
    kernel = reverse(6)
    (training,) = interpret(kernel, [1]).trainings
    training.integers["q.weight"][3, 4] += 2
    with pytest.raises(RunError, match=r"seed 1, rate 0\.5: q\.weight is not the reference's"):
        check(kernel, [training])


@compiles
def test_the_command_says_the_machine_s_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "reverse", "--on", "ptx", "--steps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["weights_sha256"] == train_log(ac.load("reverse"), 2)[0].sha256
    assert (told["machine"], told["steps"], told["time_ns"]) == ("ptx", 2, None)
    assert told["instructions_total"] > 10_000
    if told["steps_per_second_estimated"] is not None:  # without NVIDIA's assembler there is none
        lo, expected, hi = told["steps_per_second_estimated"]
        assert 50e6 < lo < expected < hi


@compiles
def test_the_command_trains_seeds_at_rates(capsys: pytest.CaptureFixture[str]) -> None:
    """Interpreted and by the reference: the same rows."""
    words = ["train", "reverse", "--steps", "2", "--rates", "1/8, 2", "--seeds", "2", "--json"]
    told = []
    for machine in ("ptx", "reference"):
        assert main([*words, "--on", machine]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["rates"] == told[1]["rates"]
    assert [(row["rate"], row["seeds"]) for row in told[0]["rates"]] == [(1 / 8, 2), (2, 2)]
    losses = [row["loss"] for row in told[0]["rates"]]
    means = [
        sum(t.losses[-1] for t in train_log(at_rate(ac.load("reverse"), rate), 2, [0, 1])) / 2
        for rate in (1 / 8, 2)
    ]
    assert losses == pytest.approx(means) and losses[0] != losses[1]


def test_rates_are_shown_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "reverse", "--steps", "2", "--rates", "1/8,2"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"1/8 +1 +0 +0\.\d{4}", told) and "0 of 2 trainings reach 0.98" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rates", "1/0"], "--rates 1/0: '1/0' is no number: say 1/4,1/2"),
        (["--rates", "-1"], "a rate of -1: allowed is"),
        (["--rates", "nan"], "'nan' is no number"),
        (["--rates", "1", "-o", "w.npz"], "--rates trains several times, and saves no weights"),
        (["--rates", "1", "--on", "c64"], "c64 trains at one rate: leave --rates out, or say"),
        (["--seeds", "600000", "--rates", "1,2", "--on", "ptx"], "1,200,000 trainings at once"),
        (["--rates", "1", "--on", "c64,ptx"], "--json, --seeds and --rates are for one machine"),
    ],
)
def test_rates_that_will_not_do_are_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "reverse", "--steps", "2", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_no_two_values_that_are_needed_together_share_memory(tmp_path: Path) -> None:
    for model in (ac.load("reverse"), load_text(tmp_path, TWO)):
        step = StepLowering(lower_step(differentiate(model)))
        first, last = step._forms()
        spans = [
            (field.offset, field.offset + field.n_bytes, first[key], last[key])
            for key, field in step.fields.items()
            if key in first
        ]
        spans += [(f.offset, f.offset + f.n_bytes, 0, 999) for f in step.codes.values()]
        for i, (start, end, since, until) in enumerate(spans):
            assert end <= step.warp_bytes
            for low, high, begin, stop in spans[:i]:
                assert end <= low or high <= start or until < begin or stop < since


def test_what_it_cannot_train_is_one_line() -> None:
    long = ac.load("reverse", overrides={"seq_len": 40})
    with pytest.raises(ValueError, match="40 positions, training on a GPU takes 32"):
        write_training(lower_step(differentiate(long)), 50)
    wide = ac.load("reverse", overrides={"dim": 256})
    with pytest.raises(ValueError, match="bytes of shared memory beside"):
        write_training(lower_step(differentiate(wide)), 50)


def test_an_op_that_it_lacks_is_one_line(tmp_path: Path) -> None:
    text = NEXT.replace("logits = linear(y,", "logits = linear(rms_norm(y),")
    with pytest.raises(ValueError, match="training on a GPU has no normalize"):
        write_training(lower_step(differentiate(load_text(tmp_path, text))), 50)


class Stand:
    """In a GPU's place: two multiprocessors, interpreted."""

    multiprocessors = 2

    def launch(
        self, ptx: str, arguments: tuple, threads: int, shared: int, blocks: int
    ) -> int:
        result = load(ptx).launch(*arguments, threads=threads, shared=shared, blocks=blocks)
        assert not result.races and blocks == 2
        return 1_000_000


@compiles
def test_a_measurement_goes_through_more_trainings_than_run_at_once() -> None:
    found = throughput.measure(Stand(), reverse(2), seeds=33)  # type: ignore[arg-type]
    assert found["steps_per_second"] == pytest.approx(33 * 2 / 1e-3)

"""A C64 that trains has the reference's weights after every step, prints its lines, in its time."""

import json

import numpy as np
import pytest
from training_models import TEXT, small

import anachron.compiler as ac
from anachron.compiler.autodiff import differentiate
from anachron.compiler.cli import main
from anachron.compiler.log_training import Loop, train_log
from anachron.compiler.logarithms import lower_step
from anachron.compiler.machine_training import (
    build_training,
    measure_step,
    read_weights,
    run_to,
    train_on,
)
from anachron.compiler.run import start
from anachron.compiler.targets import DoesNotFit
from anachron.emulators import create
from anachron.kernels.mos6502.training import codes
from anachron.kernels.mos6502.training.products import Products
from anachron.kernels.reference import log_tables

MINUTES_8 = 8 * 60 * 985_248


@pytest.fixture(scope="module")
def reverse():
    return ac.load("reverse")


@pytest.fixture(scope="module")
def image(reverse):
    return build_training(reverse, "c64")


# The whole.


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_weights_equal_the_reference_after_every_one_of_twenty_steps(reverse, seed):
    image = build_training(reverse, "c64", seed=seed)
    machine = start(image)
    loop = Loop(lower_step(differentiate(reverse)), (seed,))
    run_to(image, machine, "train_start")
    for step in range(21):
        for name, array in read_weights(image, machine).items():
            assert np.array_equal(array, loop.weights[name][0]), f"{name} after step {step}"
        loop.step()
        run_to(image, machine, "step_done")


@pytest.mark.parametrize("seed", [0, 1, 11, 2**32 - 1])
def test_weights_and_lines_equal_the_reference_after_350_steps(reverse, image, seed):
    training = train_on(image, seed)
    (wanted,) = train_log(reverse, seeds=(seed,))
    assert training.sha256 == wanted.sha256
    assert training.console.splitlines()[-len(wanted.transcript) :] == list(wanted.transcript)
    assert training.steps == 350
    assert training.cycles <= MINUTES_8


def test_letters_are_printed_as_the_reference_prints_them():
    text = TEXT.replace("tokenizer digits", 'tokenizer characters("abCdEf")')
    text = text.replace("vocab_size = 10", "vocab_size = 6")
    assert " -> " in train_on(build_training(small(text=text), "c64")).console


def test_two_machines_of_different_makes_train_the_same_weights(reverse, image):
    other = train_on(build_training(reverse, "pdp11/34a"))
    training = train_on(image)
    assert training.sha256 == other.sha256
    assert training.accuracy == 1.0 and training.console.endswith("TESTS 10/10\n")


@pytest.mark.parametrize(
    ("task", "n"),
    [("reverse", 2), ("copy", 5), ("sort", 8), ("sum", 9), ("reverse", 13), ("sort", 15)],
)
def test_every_task_at_every_length_gives_the_weights_of_the_reference(task, n):
    training = train_on(build_training(small(n, task), "c64"), seed=n)
    assert training.steps == 12  # two whole windows, and one of two steps
    assert len(training.reports) == 3


@pytest.mark.parametrize(
    ("dim", "n"), [(1, 8), (3, 4), (8, 8), (17, 8), (24, 7), (32, 8), (36, 2)]
)
def test_features_are_padded_and_long_sums_are_made_of_short_ones(dim, n):
    text = TEXT.replace("dim = 16", f"dim = {dim}").replace("k, v)", "k, v, scale = 1/4)")
    train_on(build_training(small(n, text=text), "c64"))


@pytest.mark.parametrize("dim", [37, 100, 2048])
def test_a_model_too_large_to_train_does_not_fit(dim):
    with pytest.raises(DoesNotFit, match="too many"):
        build_training(small(text=TEXT.replace("dim = 16", f"dim = {dim}")), "c64")


def test_a_model_whose_tables_alone_leave_no_room_does_not_fit():
    text = TEXT.replace("dim = 16", "dim = 29").replace("vocab_size = 10", "vocab_size = 2")
    text = text.replace("sgd(", "sgd(q.weight = 1, k.weight = 1/3, v.weight = 1/7, ")
    with pytest.raises(DoesNotFit, match="too many"):
        build_training(small(15, text=text), "c64")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("attention(q, k, v)", "attention(q, k, v, heads = 2)", "one head"),
        ("x      = tok + pos", "x      = tok + tok", "embed"),
        ("k      = linear(x, dim)", "k      = linear(x, dim, weight = q)", "of their own"),
        ("steps = 12, window = 5", "steps = 9000, window = 9000", "windows of 9000 steps"),
        ("window = 5", "window = 5, batch = 2", "one sample"),
        ("sgd(", "sgd(rate = 4000, ", "times too large"),
        ("k, v)", "k, v, scale = 2)", "times too large"),
    ],
)
def test_a_model_of_another_shape_is_refused_with_its_place(old, new, wanted):
    assert old in TEXT
    with pytest.raises(ValueError, match=wanted):
        build_training(small(text=TEXT.replace(old, new)), "c64")


@pytest.mark.parametrize(
    "recipe",
    [
        "rate = 1/8",
        "rate = 1/2, q = 1, k = 3, v = 5, tok = 1/4, pos = 2",
        "rate = 1/4, logits = 1/16, tok = 1/2, q = 1, k = 1",
        "rate = 1/2, tok = 1/100, pos = 8, logits = 2",
        "clip = 1/4",
        "clip = 2, rate = 1/8",
    ],
)
def test_rates_of_the_recipe_are_the_constants_of_the_kernels(recipe):
    for name in ("q", "k", "v", "tok", "pos", "logits"):
        recipe = recipe.replace(f" {name} =", f" {name}.weight =")
    text = TEXT.replace("sgd(", f"sgd({recipe}, ").replace("k, v)", "k, v, scale = 1/3)")
    train_on(build_training(small(text=text), "c64"))


# What it shows, writes and says.


def test_the_screen_shows_the_last_lines_and_the_border_has_moved(reverse):
    image = build_training(reverse, "c64", 60)
    machine = start(image)
    border = machine.vic[0x20]
    run_to(image, machine, "finished")
    shown = [line.strip() for line in machine.screen().splitlines()]
    (wanted,) = train_log(reverse, 60)
    assert [line for line in shown if line][-len(wanted.transcript) :] == list(wanted.transcript)
    assert (machine.vic[0x20] - border) & 15 == 60 & 15
    assert machine.vic[0x11] & 0x10  # the screen is on


def test_the_screen_may_stay_on_for_the_same_weights(reverse):
    dark, lit = (train_on(build_training(reverse, "c64", 20, screen=on)) for on in (False, True))
    assert lit.sha256 == dark.sha256
    assert 1.04 < lit.cycles / dark.cycles < 1.07


def test_sound_is_a_note_a_step_and_the_border_may_rest(reverse):
    image = build_training(reverse, "c64", 12, feedback=("sound",))
    machine = start(image)
    border = machine.vic[0x20]
    run_to(image, machine, "train_start")
    machine.log_sid()
    run_to(image, machine, "train_end")
    opened = [entry for entry in machine.sid_log() if entry[1] == 4 and entry[2] & 1]
    assert len(opened) == 12
    assert machine.vic[0x20] == border
    with pytest.raises(ValueError, match="no feedback smoke"):
        build_training(reverse, "c64", 12, feedback=("smoke",))


def test_every_container_trains_the_same(reverse, tmp_path):
    (wanted,) = train_log(reverse, 2)
    for packed in (False, True):
        image = build_training(reverse, "c64", 2, packed=packed)
        for suffix, content in image.container.items():
            (tmp_path / f"x{suffix}").write_bytes(content)
            machine = create("c64")
            machine.load(tmp_path / f"x{suffix}")
            machine.run(max_cycles=50_000_000, until=image.symbols["finished"])
            for name, array in read_weights(image, machine).items():
                assert np.array_equal(array, wanted.integers[name]), f"{name} {suffix} {packed}"


BRANCHING = {"attend", "output", "d_scores", "draw"}


def test_the_time_of_every_kernel_of_a_step_is_predicted(image):
    measured = measure_step(image)
    predicted = image.predict()
    assert measured.keys() == predicted.keys()
    for name, time in predicted.items():
        assert time.lo <= measured[name] <= time.hi, name
    whole = sum(time.expected for time in predicted.values())
    assert abs(whole - sum(measured.values())) < 0.01 * whole


def test_the_command_prints_what_the_machine_did_as_json(reverse, capsys):
    assert main(["train", "reverse", "--on", "c64", "--steps", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (wanted,) = train_log(reverse, 3)
    assert (said["machine"], said["status"], said["steps"]) == ("c64", "ok", 3)
    assert said["weights_sha256"] == wanted.sha256
    assert said["loss"] == list(wanted.losses)
    assert said["time_s"] == pytest.approx(said["cycles_total"] / 985_248, rel=1e-6)


def test_trained_weights_are_saved_and_answer(tmp_path, capsys):
    file = tmp_path / "it.npz"
    assert main(["train", "reverse", "--on", "c64", "-o", str(file)]) == 0
    assert "TESTS 10/10" in capsys.readouterr().out
    assert main(["run", str(file), "--on", "c64", "-i", "31415926"]) == 0
    assert capsys.readouterr().out == "62951413\n"


def test_build_train_writes_a_program_and_what_stands_beside_it(reverse, tmp_path, capsys):
    file = tmp_path / "it.prg"
    words = ["build", "reverse", "--train", "--on", "c64", "--seed", "9", "-o", str(file)]
    assert main(words) == 0
    assert file.read_bytes() == build_training(reverse, "c64", seed=9).container[".prg"]
    assert {p.suffix for p in tmp_path.iterdir()} == {".prg", ".map", ".lbl", ".lst"}


def test_seeds_on_a_machine_are_counted_and_timed(capsys):
    assert main(["train", "reverse", "--on", "c64", "--seed", "3", "--seeds", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["seeds"], said["converged"]) == (2, 2)
    assert said["median_s"] <= said["most_s"] < 480


# Its numbers.


def test_bytes_are_the_references_codes():
    for half in range(4096):
        code = int(log_tables.code(2 * half))
        byte = codes.byte(half)
        if code == log_tables.ZERO:
            assert byte == 0
        else:
            negative = code >= log_tables.STRIDE // 2
            magnitude = (code - log_tables.STRIDE * negative) // 2
            assert byte == 2 * (magnitude - codes.ORIGIN) + negative


@pytest.mark.parametrize("constant", [-177, -133, -122, -100, -60])
def test_the_tables_hold_every_product_of_a_factor_and_a_byte(constant):
    tables = codes.Tables(codes.LARGEST + constant)
    content = np.frombuffer(tables.content(256), np.uint8).astype(int)
    modulo = np.frombuffer(tables.content(255), np.uint8).astype(int)
    bytes_ = sorted({codes.byte(half) for half in range(4096)})
    for factor, address in enumerate(codes.coded(constant).addresses(tables)):
        if factor not in bytes_:
            continue
        for byte in bytes_:
            signs = (factor & 1) + (byte & 1)
            k = (factor >> 1) + (byte >> 1) + 2 * codes.ORIGIN + constant
            product = log_tables.exponential(2 * k) * (-1) ** signs if factor and byte else 0
            assert content[address + byte] == product // 2 % 256
            assert modulo[address + byte] == product // 2 % 255


@pytest.mark.parametrize(("terms", "most"), [(1, 2037), (16, 2037), (17, 2037), (5, 16383)])
def test_chunks_of_a_sum_stay_within_its_residues(terms, most):
    kernel = Products("sums", terms, 3, most)
    assert kernel.chunk * most <= codes.LIMIT
    assert kernel.whole == (terms > kernel.chunk)
    assert len(kernel.slots()) == terms

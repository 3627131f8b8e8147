"""A PDP-11 that trains has the reference's weights after every step, prints its lines, in its time.

The reference is kernels/reference/log_*.py by way of compiler/log_training.py; a training image is
one for all seeds, which the host deposits.
"""
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from training_models import TEXT, small

import anachron.compiler as ac
from anachron.compiler.autodiff import differentiate
from anachron.compiler.cli import main
from anachron.compiler.language import parse
from anachron.compiler.log_training import Loop, train_log
from anachron.compiler.logarithms import lower_step
from anachron.compiler.machine_training import (
    build_training,
    measure_step,
    read_weights,
    train_on,
)
from anachron.compiler.run import start
from anachron.compiler.targets import DoesNotFit

MACHINES = ("pdp11/34a", "pdp11/20")


@pytest.fixture(scope="module")
def reverse():
    return ac.load("reverse")


@pytest.fixture(scope="module", params=MACHINES)
def image(request, reverse):
    return build_training(reverse, request.param)


def expect_error(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        build_training(parse(text.format(n=8, task="reverse")).model, "pdp11/34a")


def test_weights_equal_the_reference_after_every_one_of_twenty_steps(reverse, image):
    machine = start(image)
    loop = Loop(lower_step(differentiate(reverse)), (image.seed,))
    machine.run(until=image.symbols["train_start"])
    for name, array in read_weights(image, machine).items():
        assert np.array_equal(array, loop.weights[name][0]), f"{name} at the start"
    for step in range(1, 21):
        loop.step()
        machine.run(until=image.symbols["step_done"])
        for name, array in read_weights(image, machine).items():
            assert np.array_equal(array, loop.weights[name][0]), f"{name} after step {step}"


@pytest.mark.parametrize("seed", [0, 1, 11, 2**32 - 1])
def test_weights_and_lines_equal_the_reference_after_350_steps(reverse, image, seed):
    training = train_on(image, seed)
    (wanted,) = train_log(reverse, seeds=(seed,))
    assert training.sha256 == wanted.sha256
    assert training.console.splitlines()[-len(wanted.transcript):] == list(wanted.transcript)
    assert training.steps == 350


def test_the_default_seed_converges_within_its_time_on_the_11_34a(reverse):
    training = train_on(build_training(reverse, "pdp11/34a"))
    assert training.time_ns <= 33_600_000_000
    assert training.accuracy == 1.0
    assert training.console.endswith("TESTS 10/10\n")


def test_the_whole_program_lies_in_32_kb(reverse):
    image = build_training(reverse, "pdp11/34a", memory_bytes=32768)
    assert image.memory_bytes <= 32768
    with pytest.raises(DoesNotFit):
        build_training(reverse, "pdp11/34a", memory_bytes=image.memory_bytes - 2)


def test_no_instruction_is_one_that_a_judge_misexecutes(image):
    used = {line.row.mnemonic for line in image.program.instructions.values()}
    assert not used & {"SXT", "XOR", "MTPS", "MFPS"}


@pytest.mark.parametrize("task", ["reverse", "copy", "sort", "sum"])
@pytest.mark.parametrize("n", [2, 5, 6, 8, 9, 15])
def test_every_task_at_every_length_gives_the_weights_of_the_reference(task, n):
    model = small(n, task)
    training = train_on(build_training(model, MACHINES[n % 3 == 0]), seed=n)
    assert training.steps == 12  # two whole windows, and one of two steps
    assert len(training.reports) == 3


@pytest.mark.parametrize("dim", [4, 8, 32])
def test_rows_are_padded_where_features_and_positions_differ(dim):
    text = TEXT.replace("dim = 16", f"dim = {dim}").replace("k, v)", "k, v, scale = 1/4)")
    train_on(build_training(small(text=text), "pdp11/34a"))


@pytest.mark.parametrize("dim", [48, 100, 2048])
def test_a_model_too_large_to_train_does_not_fit(dim):
    with pytest.raises(DoesNotFit, match="too many"):
        build_training(small(text=TEXT.replace("dim = 16", f"dim = {dim}")), "pdp11/34a")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("steps = 12, window = 5", "steps = 5000, window = 5000", "windows of 5000 steps"),
        ("window = 5", "window = 5, batch = 2", "one sample"),
    ],
)
def test_a_recipe_that_a_machine_cannot_follow_is_refused(old, new, wanted):
    assert old in TEXT
    expect_error(TEXT.replace(old, new), wanted)


@pytest.mark.parametrize(
    "recipe",
    [
        "rate = 1/8",
        "rate = 1/2, q = 1, k = 3, v = 5, tok = 1/4, pos = 2",
        "rate = 1/4, logits = 1/16, tok = 1/2, q = 1, k = 1",
        "clip = 1/4",
    ],
)
@pytest.mark.parametrize("n", [8, 13])
def test_rates_of_the_recipe_are_the_constants_of_the_kernels(recipe, n):
    names = ("q", "k", "v", "tok", "pos", "logits")
    for name in names:
        recipe = recipe.replace(f" {name} =", f" {name}.weight =")
    text = TEXT.replace("sgd(", f"sgd({recipe}, ")
    train_on(build_training(small(n, text=text), "pdp11/34a"))


def test_a_rate_that_the_tables_have_no_room_for_is_refused():
    expect_error(TEXT.replace("sgd(", "sgd(rate = 40, "), "times too large")


def test_a_machine_that_does_not_train_says_which_do(reverse):
    with pytest.raises(ValueError, match="these train: reference"):
        build_training(reverse, "ptx")


@pytest.mark.simh
def test_simh_prints_the_same_lines_and_trains_the_same_weights(reverse, tmp_path):
    simulator = shutil.which("pdp11")
    if simulator is None:
        pytest.skip("SIMH's pdp11 is not installed")
    image = build_training(reverse, "pdp11/34a", seed=4)
    (wanted,) = train_log(reverse, seeds=(4,))
    (tmp_path / "image.lda").write_bytes(image.container[".lda"])
    first = image.symbols["tok.weight"]
    last = max(place.address + 2 * place.size for place in image.weights.values()) - 2
    (tmp_path / "run.ini").write_text(
        f"set cpu 11/34\nload {tmp_path}/image.lda\ndep pc {image.entry:o}\ndep psw 0\ngo\n"
        f"ex -o {first:o}-{last:o}\nquit\n"
    )
    said = subprocess.run(
        [simulator, tmp_path / "run.ini"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    ).stdout.decode("latin-1")
    assert "\r\n".join((*wanted.transcript, "")) in said
    memory = np.zeros(1 << 16, np.uint8)
    for address, word in re.findall(r"^([0-7]+):\s+([0-7]{6})\s*$", said, re.MULTILINE):
        at = int(address, 8)
        memory[at : at + 2] = np.frombuffer(int(word, 8).to_bytes(2, "little"), np.uint8)
    for name, place in image.weights.items():
        assert np.array_equal(place.decode(memory), wanted.integers[name].reshape(-1)), name


BRANCHING = {"draw", "weights", "loss", "d_scores"}  # their time depends on data


def test_the_time_of_every_kernel_of_a_step_is_predicted(image):
    measured = measure_step(image)
    predicted = image.predict()
    assert BRANCHING < predicted.keys()
    for name, time in predicted.items():
        assert time.lo <= measured[name] <= time.hi, name
        if name not in BRANCHING:
            assert time.lo == time.hi, name
    whole = sum(time.expected for time in predicted.values())
    assert abs(whole - sum(measured.values())) < 0.01 * whole


def test_the_command_prints_what_the_machine_did_as_json(reverse, capsys):
    assert main(["train", "reverse", "--on", "pdp11/20", "--steps", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (wanted,) = train_log(reverse, 3)
    assert said["machine"] == "pdp11/20"
    assert said["weights_sha256"] == wanted.sha256
    assert said["loss"] == list(wanted.losses)
    assert said["time_s"] == said["time_ns"] / 1e9
    assert said["time_ns"] > 3 * 144_000_000


def test_trained_weights_are_saved_and_answer(tmp_path, capsys):
    file = tmp_path / "it.npz"
    assert main(["train", "reverse", "--on", "pdp11/34a", "-o", str(file)]) == 0
    assert "TESTS 10/10" in capsys.readouterr().out
    assert main(["run", str(file), "--on", "pdp11/34a", "-i", "31415926"]) == 0
    assert capsys.readouterr().out == "62951413\n"


def test_build_train_writes_a_tape_and_what_stands_beside_it(reverse, tmp_path, capsys):
    file = tmp_path / "it.lda"
    words = ["build", "reverse", "--train", "--on", "pdp11/34a", "--seed", "9", "-o", str(file)]
    assert main(words) == 0
    assert file.read_bytes() == build_training(reverse, "pdp11/34a", seed=9).container[".lda"]
    assert {p.suffix for p in tmp_path.iterdir()} == {".lda", ".map", ".lbl", ".lst"}


def test_seeds_on_a_machine_are_counted_and_timed(capsys):
    words = ["train", "reverse", "--on", "pdp11/34a", "--seed", "3", "--seeds", "2", "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["seeds"], said["converged"]) == (2, 2)
    assert said["median_s"] <= said["most_s"] < 34

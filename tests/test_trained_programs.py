"""The shipped weights are what a PDP-11 comes to by itself, from the first step to the last."""

import numpy as np
import pytest

from anachron.compiler.cli import main
from anachron.compiler.loader import load
from anachron.compiler.log_training import train_log
from anachron.compiler.machine_training import build_training, read_weights, run_to, train_on
from anachron.compiler.run import start


@pytest.mark.parametrize("program", ["reverse", "copy", "sort", "sum", "count"])
def test_a_pdp11_trains_the_weights_that_are_shipped(program):
    model = load(program)
    image = build_training(model, "pdp11/34a")
    machine = start(image)
    for _ in range(image.steps):
        run_to(image, machine, "step_done")
    run_to(image, machine, "finished")
    for name, array in read_weights(image, machine).items():
        frac = np.log2(np.abs(array[array != 0] / model.weights[name][array != 0])).round()
        assert len(set(frac.tolist())) == 1
        assert np.array_equal(array, model.weights[name] * 2 ** frac[0])
    said = str(machine.console)
    assert said.count("STEP") == -(-image.steps // model.recipe.get("window", 50))
    if model.generation.mode == "sequence":
        assert int(said.split("TESTS ")[1].split("/")[0]) >= 8


@pytest.mark.parametrize("program", ["copy", "sort", "sum", "count"])
def test_the_first_steps_of_a_program_are_the_references(program):
    model = load(program)
    (wanted,) = train_log(model, 12, (5,))
    for machine in ("pdp11/34a", "pdp11/20"):
        assert train_on(build_training(model, machine, 12), 5, None, wanted).sha256 == wanted.sha256


def test_a_picture_has_every_machine(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file, machines = tmp_path / "curves.png", "reference,pdp11/34a,pdp11/20"
    words = ["train", "reverse", "--on", machines, "--steps", "3", "--plot", str(file)]
    assert main(words) == 0
    assert file.read_bytes()[:4] == b"\x89PNG"
    assert capsys.readouterr().out.count("seed 0:") == 3


def test_times_of_windows_end_with_the_training():
    training = train_on(build_training(load("reverse"), "pdp11/34a", 120))
    assert len(training.window_ns) == len(training.reports) == 3
    assert sorted(training.window_ns) == list(training.window_ns)
    assert 0.99 * training.time_ns < training.window_ns[-1] < training.time_ns


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "reference,pdp11/34a", "--json"], "one machine"),
        (["--on", "reference,pdp11/34a", "--seeds", "2"], "one machine"),
        (["--on", "pdp11/34a", "--numerics", "float"], "trains in integers"),
        (["--on", "c64", "--numerics", "fixed"], "leave --numerics fixed out"),
        (["--on", "pdp11/20", "--numerics", "fixed"], "cannot"),
    ],
)
def test_what_train_cannot_do_is_one_clear_line(words, message, capsys):
    assert main(["train", "reverse", "--steps", "2", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1

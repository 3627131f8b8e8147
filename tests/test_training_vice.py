"""A C64 that trains, in VICE: the weights and the lines are the reference's, in as many cycles."""

import numpy as np
import pytest
from test_images_vice import unraisable, vicectl

import anachron.compiler as ac
from anachron.compiler.log_training import train_log
from anachron.compiler.machine_training import build_training, train_on

__all__ = ["vicectl"]


@unraisable
@pytest.mark.vice
@pytest.mark.parametrize("seed", [5, 2**31])
def test_vice_trains_the_same_weights_in_as_many_cycles(vicectl, tmp_path, seed):
    model = ac.load("reverse")
    image = build_training(model, "c64", 60, seed)
    (wanted,) = train_log(model, 60, (seed,))
    (tmp_path / "x.prg").write_bytes(image.container[".prg"])
    with vicectl.Vice(str(tmp_path / "x.prg")) as vice:
        clocks = []
        for label in ("train_start", "train_end", "finished"):
            number = vice.brk(image.symbols[label])
            vice.go()
            clocks.append(vice.clk())
            vice.delete(number)
        memory = np.frombuffer(vice.mem(0, 0xFFFF), np.uint8)
        shown = [line.strip().upper() for line in vice.screen().splitlines()]
        vice.s.close()
    for name, place in image.weights.items():
        assert np.array_equal(place.decode(memory), wanted.integers[name].reshape(-1)), name
    said = [line for line in shown if line][-len(wanted.transcript) :]
    assert said == list(wanted.transcript)
    cycles = train_on(image, wanted=wanted).cycles
    assert abs(clocks[1] - clocks[0] - cycles) <= FRAMES


FRAMES = 10 * 19_656  # what the waits for the screen's last line may differ by

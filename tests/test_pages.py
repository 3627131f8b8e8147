"""Objects of the pipeline: a line for a person in `repr`, tables in `show`."""

import pytest

import anachron.compiler as ac


@pytest.fixture(scope="module")
def stages():
    model = ac.load("reverse")
    fixed = ac.quantize(model)
    image = ac.build(fixed, "c64")
    return {"model": model, "fixed": fixed, "image": image, "run": image.run("12345678")}


@pytest.mark.parametrize("stage", ("model", "fixed", "image", "run"))
def test_repr_is_one_line(stages, stage):
    told = repr(stages[stage])
    assert "reverse" in told and "\n" not in told and len(told) < 140


@pytest.mark.parametrize("stage, told", (
    ("model", "16 x 16"), ("fixed", "int16 Q11"), ("image", "forward"), ("run", "87654321"),
))
def test_show_prints_its_tables(stages, stage, told, capsys):
    stages[stage].show()
    assert told in capsys.readouterr().out


def test_an_image_knows_its_cycles_and_its_map(stages):
    image, run = stages["image"], stages["run"]
    assert {name: cycles.lo for name, cycles in image.cycles.items()}.keys() <= run.cycles.keys()
    assert sum(c.lo for c in image.cycles.values()) <= run.total
    addresses = [placed.address for placed in image.memory_map]
    assert addresses == sorted(addresses) and len(addresses) == len(image.objects)


def test_weights_are_counted_once(stages):
    assert stages["fixed"].n_weights == stages["model"].n_parameters

"""C64 images of every kind in VICE: the memory after an answer is our emulator's, byte for byte."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from random_models import random_text
from test_reu_target import ROTATED

import anachron.compiler as ac
from anachron.compiler.targets import Options, find_machine
from anachron.compiler.targets.mos6502.target import build_streamed
from anachron.emulators import create

DRIVER = Path(__file__).parents[2] / "shared" / "tools" / "vicectl.py"
MODELS = DRIVER.parents[1] / "models"
ZEROS = (
    "-raminitstartvalue 0 -raminitvalueinvert 0 -raminitpatterninvert 0 -raminitrandomchance 0"
).split()
LINE, LINE_END = 0x0200, 0x0259  # where BASIC reads a line: what was typed to load stays there
SLOPES, STEPS = "slopes by quarter squares", "steps by table"  # of an activation's table
SET_UP = 4_000_000  # cycles: more than an image takes from its start to its prompt

# The driver leaves the files that it reads to the garbage collector.
unraisable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def vicectl() -> ModuleType:
    if not (DRIVER.is_file() and {"X64SC", "VICEDATA"} <= set(os.environ)):
        pytest.skip("needs VICE's x64sc (X64SC, VICEDATA) and ../shared/tools/vicectl.py")
    spec = importlib.util.spec_from_file_location("vicectl", DRIVER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def images(folder: Path, packed: bool) -> list[tuple[ac.Image, str]]:
    """An encoder and a decoder of random weights, and a prompt for each."""
    text = folder / "random.model"
    text.write_text(random_text(4, ("layer",)))
    models = ((ac.load("reverse"), "31415926"), (ac.load(text), "abc"))
    return [(ac.build(ac.quantize(model), "c64", packed=packed), p) for model, p in models]


def used(image: ac.Image, memory: np.ndarray) -> dict[str, bytes]:
    """What lies in every object of the memory map; the zero page is BASIC's, too."""
    objects = [o for o in image.objects if o.kind != "zero page"]
    return {f"{o.name} {o.address:04x}": bytes(memory[o.address : o.end]) for o in objects}


def after_an_answer(image: ac.Image, path: Path, prompt: str, line: bytes) -> dict[str, bytes]:
    """Our emulator's memory, all zeros before the program came but for the line that BASIC read."""
    machine = create("c64")
    machine.ram[0x0800:] = bytes(0xF800)
    machine.load(path)
    if path.suffix == ".crt":  # loading one switches the machine on anew
        machine.ram[0x0800:] = bytes(0xF800)
    machine.ram[LINE:LINE_END] = line
    machine.run(max_cycles=SET_UP, until=image.symbols["ready"])
    machine.type(prompt + "\r")
    machine.run(max_cycles=10**9, until=image.symbols["answer_done"])
    assert machine.registers["pc"] == image.symbols["answer_done"]
    return used(image, machine.memory)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".prg", ".d64", ".crt"])
def test_every_kind_of_image_starts_by_itself(tmp_path: Path, suffix: str, packed: bool) -> None:
    for image, _ in images(tmp_path, packed):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(image.container[suffix])
        machine = create("c64")
        machine.load(path)
        machine.run(max_cycles=SET_UP, until=image.symbols["ready"])
        assert machine.registers["pc"] == image.symbols["ready"]
        loaded = next(data for address, data in image.program.segments if address == 0x0801)
        code = slice(image.symbols["section_forward"], image.symbols["section_forward_end"])
        assert bytes(machine.memory[code]) == loaded[code.start - 0x0801 : code.stop - 0x0801]


def test_a_packed_image_is_smaller_and_gives_the_same_answer() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    image, packed = (ac.build(fixed, "c64", packed=p) for p in (False, True))
    assert len(packed.container[".prg"]) < len(image.container[".prg"])
    assert packed.container[".crt"] == image.container[".crt"]
    assert packed.run("31415926").text == image.run("31415926").text == "62951413"


@unraisable
@pytest.mark.vice
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".prg", ".d64", ".crt"])
def test_vice_runs_it_to_the_same_memory(
    vicectl: ModuleType, tmp_path: Path, suffix: str, packed: bool
) -> None:
    for image, prompt in images(tmp_path, packed):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(image.container[suffix])
        cartridge = ("-cartcrt", str(path)) if suffix == ".crt" else ()
        program = None if cartridge else str(path)
        with vicectl.Vice(program, extra=(*ZEROS, *cartridge), drive=suffix == ".d64") as vice:
            vice.run_cycles(SET_UP)
            line = bytes(vice.mem(LINE, LINE_END - 1))
            vice.brk(image.symbols["answer_done"])
            vice.keybuf(prompt + "\r")
            vice.go()
            memory = np.frombuffer(vice.mem(0, 0xFFFF), np.uint8)
            vice.s.close()
        assert used(image, memory) == after_an_answer(image, path, prompt, line)


def count_in_vice(
    vicectl: ModuleType, image: ac.Image, path: Path, prompt: str, passes: int | None = None
) -> list[int]:
    """Cycles of each forward pass, or of so many, from the program's own labels."""
    path.write_bytes(image.container[path.suffix])
    unit = {}
    if ".reu" in image.container:
        contents = path.with_suffix(".reu")
        contents.write_bytes(image.container[".reu"])
        unit = {"reu": str(contents), "reusize": len(image.container[".reu"]) // 1024}
    counts, began = [], 0
    with vicectl.Vice(str(path), extra=ZEROS, drive=path.suffix == ".d64", **unit) as vice:
        vice.run_cycles(SET_UP)
        for label in ("forward", "forward_done", "answer_done"):
            vice.brk(image.symbols[label])
        vice.keybuf(prompt + "\r")
        while passes is None or len(counts) < passes:
            vice.go()
            registers = vice.regs()
            if registers["pc"] == image.symbols["answer_done"]:
                break
            if registers["pc"] == image.symbols["forward"]:
                began = registers["clk"]
            else:
                counts.append(registers["clk"] - began)
        vice.s.close()
    return counts


@unraisable
@pytest.mark.vice
def test_vice_counts_the_same_cycles(vicectl: ModuleType, tmp_path: Path) -> None:
    for image, prompt in images(tmp_path, False):
        counts = count_in_vice(vicectl, image, tmp_path / "x.prg", prompt)
        assert counts == list(image.run(prompt).counts)


@unraisable
@pytest.mark.vice
def test_vice_counts_the_same_cycles_with_an_expansion(
    vicectl: ModuleType, tmp_path: Path
) -> None:
    text = tmp_path / "random.model"
    text.write_text(random_text(4, ("layer",)))
    image = build_streamed(ac.quantize(ac.load(text)), find_machine("c64+reu"), Options())
    counts = count_in_vice(vicectl, image, tmp_path / "x.prg", "abc")
    assert counts == list(image.run("abc").counts)


@unraisable
@pytest.mark.vice
@pytest.mark.parametrize(
    ("activations", "n", "scale", "table"),
    [(16, 300, 1, SLOPES), (8, 300, 1, SLOPES), (16, 40, 8, STEPS), (8, 40, 4, STEPS)],
)
def test_vice_counts_a_llama_in_an_expansion_the_same(
    vicectl: ModuleType, tmp_path: Path, activations: int, n: int, scale: int, table: str
) -> None:
    """Scores in residues and of words, turned pairs, gates, steps and slopes of tables.

    scale  of what enters the table: the larger it is, the fewer different steps the table has
    """
    text = tmp_path / "rotated.model"
    text.write_text(ROTATED)
    model = ac.load(text, overrides={"seq_len": n})
    (entering,) = (node.inputs[0] for node in model.nodes if node.op == "silu")
    name = model[entering].parameters["weight"]
    model = model.with_weights({**model.weights, name: model.weights[name] * scale}, "the test")
    fixed = ac.quantize(model, activations=activations)
    image = build_streamed(fixed, find_machine("c64+reu"), Options())
    variants = {call.kernel: call.variant for call in image.calls}
    assert variants["multiply"] == "quarter squares"
    assert variants["lookup"] == table
    if activations == 8:
        assert variants["attention"].startswith("streamed residues")
    counts = count_in_vice(vicectl, image, tmp_path / "x.prg", "abc")
    assert counts == list(image.run("abc").counts) and len(counts) == n - 1


@unraisable
@pytest.mark.vice
@pytest.mark.parametrize("activations", [16, 8])
def test_vice_counts_a_tale_s_first_passes_the_same(
    vicectl: ModuleType, tmp_path: Path, activations: int
) -> None:
    """A checkpoint of trained weights: five layers, and the start of a text."""
    stories, pieces = MODELS / "stories260K.bin", MODELS / "tok512.bin"
    if not stories.is_file():
        pytest.skip(f"{stories} is absent")
    fixed = ac.quantize(ac.load(stories, tokenizer=pieces), activations=activations)
    image = ac.build(fixed, "c64+reu")
    counts = count_in_vice(vicectl, image, tmp_path / "x.prg", "Once", passes=4)
    assert counts == list(image.run("Once", 5).counts)[:4]


@unraisable
@pytest.mark.vice
@pytest.mark.parametrize(
    ("options", "logits"),
    [({}, True), ({}, False), ({"activations": 8}, False)],
    ids=["its integers", "its tokens", "int8"],
)
def test_vice_counts_soul_players_model_the_same(
    vicectl: ModuleType, tmp_path: Path, options: dict, logits: bool
) -> None:
    soul, names = MODELS / "soul.bin", MODELS / "soul_tokenizer.json"
    if not soul.is_file():
        pytest.skip(f"{soul} is absent")
    fixed = ac.quantize(ac.load(soul, tokenizer=names), **options)
    image = ac.build(fixed, "c64", logits=logits)
    counts = count_in_vice(vicectl, image, tmp_path / "soul.d64", "hey")
    assert counts == list(image.run("hey").counts) and len(counts) > 9

"""The machine compiler: what it compiles means what it means in CPython."""

import os
import subprocess
import sys
import threading
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anachron.emulators.jit import MachineError, compile_machine, interpret_machine
from anachron.emulators.jit.native import cache_directory


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """The small machines below do not belong in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


REGISTERS = ("a", "b", "out")
FIELDS = ("shared",)
ARRAYS = {"mem": "u1[256]", "words": "u2[5]", "wide": "i8[4]"}
CONSTANTS = {"SEVEN": 7, "TABLE": np.array([3, -1, 4, -1, 5], np.int16), "ON": True, "OFF": False}
HEAD = "global a, b, out, shared\n"

# Each row is a body of run(); a and b come in, everything is compared.
CONSTRUCTS = {
    "plus": "out = a + b",
    "minus": "out = a - b",
    "times": "out = (a & 0xFFFF) * (b & 0xFFFF)",
    "floor division": "out = a // (b if b else 1)",
    "modulo": "out = a % (b if b else 1)",
    "division by a power of two": "out = a // 8 + b % 16",
    "division by a constant": "out = a // -3 + b % 7",
    "and or xor": "out = a & b | a ^ SEVEN",
    "shift left": "out = (a & 255) << (b & 31)",
    "shift right": "out = a >> (b & 127)",
    "constant shifts": "out = (a & 0xFF) << 3 | b >> 5",
    "negate": "out = -a",
    "invert": "out = ~a",
    "comparison as a value": "out = (a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * (a != b)",
    "more comparisons": "out = (a > b) + 2 * (a >= b)",
    "chained comparison": "out = -100 <= a <= b < 1000",
    "not": "out = not a",
    "and or as tests": "if a < 0 and b < 0 or not a: out = 1\nelse: out = 2",
    "and or of tests as a value": "out = a < 0 and b < 0 or a == b",
    "conditional expression": "out = a if a < b else b",
    "if elif else": "if a < b: out = 1\nelif a == b: out = 2\nelse: out = 3",
    "chained assignment": "out = shared = a",
    "augmented assignment": "out = a\nout += b\nout ^= 5\nout <<= 1",
    "local variable": "k = a + 1\nout = k * 2",
    "array": "mem[a & 255] = b & 255\nout = mem[a & 255] + mem[7]",
    "array augmented": "mem[3] = 250\nmem[3] -= b & 15\nout = mem[3]",
    "array of words": "words[4] = a & 0xFFFF\nout = words[4] + words[b % 5]",
    "array of signed": "wide[a & 3] = b\nout = wide[a & 3]",
    "table": "out = TABLE[a % 5] + TABLE[1]",
    "constant": "out = a + SEVEN",
    "if constant": "if ON and not OFF: out = a\nelse: out = nonsense",
    "while break continue":
        "k = 0\nwhile k < 20:\n    k += 1\n    if k == 3: continue\n    if k > (a & 15): break\n"
        "    out += k",
    "for range": "for i in range(a & 7): out = out * 3 + i",
    "for range from to": "for i in range(b & 7, a & 15):\n    if i == 4: continue\n    out += i",
    "match": "match a & 7:\n    case 0: out = 1\n    case 1 | 2: out = b\n    case _: out = 3",
    "match without default": "match a & 7:\n    case 3: out = 1",
    "function": "out = twice(a) + twice(b)",
    "function twice nested": "out = twice(twice(a))",
    "early return": "out = clip(a)",
    "function with effects": "bump(a)\nbump(b)",
    "call in a condition": "if a < b and touch(1): out += 10",
    "call in or": "if a < b or touch(0): out += 10",
    "call in a conditional expression": "out = touch(5) if a < b else b",
    "constant argument decides an if": "out = choose(1) + choose(0)",
    "subroutine": "out = apart(a, b) + apart(b, 1)",
    "subroutine without a result": "far(a & 255)\nout = mem[9]",
    "leave": "out = 1\nif a < b: raise StopIteration\nout = 2",
    "leave from a function": "leave_if(a < b)\nout = 2",
    "docstring and pass": "'text'\npass",
    "truth of an integer": "if a: out = 1\nwhile out > 0 and b: out -= 1",
}
FUNCTIONS = """
def twice(x): return x + x
def clip(x):
    if x < 0: return 0
    if x > 255: return 255
    return x
def bump(x):
    global out
    out = out * 31 + x
def touch(k):
    global out
    out += 1
    return k
def choose(byte):
    if byte: return a
    return b
def leave_if(test):
    global out
    out = 5
    if test: raise StopIteration
@subroutine
def apart(x, y):
    global shared
    shared += x
    mem[1] = y & 255
    if x < 0: return y
    return helper(x) - y
def helper(x): return x * 5 + shared
@subroutine
def far(x):
    mem[9] = x
"""


def machine(body: str, how=compile_machine, level: int = 0, functions: str = FUNCTIONS):
    source = functions + "def run():\n" + "".join(
        f"    {line}\n" for line in (HEAD + body).splitlines())
    return how(source, CONSTANTS, REGISTERS, ARRAYS, level=level, fields=FIELDS, where="test")


def outcome(run, a: int, b: int) -> list[list[int]]:
    state = np.array([a, b, 0, 2], np.int64)
    arrays = np.arange(256, dtype=np.uint8), np.arange(5, dtype=np.uint16), np.arange(4)
    run(state, *arrays)
    return [x.tolist() for x in (state, *arrays)]


VALUES = [0, 1, -1, 2, 3, 7, 8, 100, -100, 255, 256, 65537, -65536]


@pytest.mark.parametrize("body", CONSTRUCTS.values(), ids=CONSTRUCTS)
def test_construct_means_the_same_compiled_and_in_cpython(body: str) -> None:
    compiled, interpreted = machine(body), machine(body, interpret_machine)
    for a in VALUES:
        for b in VALUES:
            assert outcome(compiled, a, b) == outcome(interpreted, a, b), (a, b)


def test_optimised_code_means_the_same() -> None:
    body = "\n".join(CONSTRUCTS[name] for name in (
        "function", "call in or", "array", "for range", "match", "subroutine", "early return"))
    compiled, interpreted = machine(body, level=2), machine(body, interpret_machine)
    for a in VALUES:
        for b in VALUES:
            assert outcome(compiled, a, b) == outcome(interpreted, a, b), (a, b)


@cache
def operators():
    return machine("wide[0] = a // b\nwide[1] = a % b\nwide[2] = a >> b\nwide[3] = a << b")


@given(st.integers(-2**40, 2**40), st.integers(-2**20, 2**20))
@settings(deadline=None)
def test_division_and_shift_are_those_of_python_where_it_has_them(a: int, b: int) -> None:
    wide = outcome(operators(), a, b)[3]
    assert wide[0] == (a // b if b else 0)
    assert wide[1] == (a % b if b else 0)
    assert wide[2] == (a >> b if b >= 0 else (-1 if a < 0 else 0))
    assert wide[3] == ((a << b) + 2**63) % 2**64 - 2**63 if 0 <= b < 64 else wide[3] == 0


def test_division_of_the_least_integer_by_minus_one_does_not_trap() -> None:
    wide = outcome(operators(), -2**63, -1)[3]
    assert wide[:2] == [-2**63, 0]


def test_an_index_never_leaves_its_array() -> None:
    run = machine("mem[a] = 1\nwords[b] = 2\nout = TABLE[a]")
    state, mem, words, wide = outcome(run, 2**40 + 17, -5)
    assert mem[17] == 1 and words[4] == 2 and state[2] == 5
    assert sum(mem) == sum(range(256)) - 17 + 1


REFUSED = {
    "x = y": "no register, field, local or constant",
    "out = a ** b": "not in the subset",
    "out = a / b": "not in the subset",
    "out = 1.5": "not in the subset",
    "out = [a]": "not in the subset",
    "out = a or b": "comparisons on both sides",
    "a, b = b, a": "not in the subset",
    "for i in mem: pass": "not in the subset",
    "while a:\n    pass\nelse:\n    pass": "not in the subset",
    "break": "not in the subset",
    "out = absent(a)": "no function",
    "out = twice(a, b)": "takes 1 arguments, 2 given",
    "out = bump(a)": "returns nothing",
    "out = mem": "no register",
    "out = nothing[3]": "no array",
    "out = words[5]": "it has 5 elements",
    "TABLE[0] = a": "cannot be assigned",
    "match a:\n    case SEVEN: pass": "a case is integers",
    "match a:\n    case 1 if b: pass": "a case is integers",
    "out = silent()": "before assigning them (a)",
    "out = wrong()": "UPPER_CASE names are constants (BIG)",
    "out = round_and_round()": "calls itself",
    "out = defaults()": "only positional parameters",
    "out = peeks()": "cannot touch the register 'a'",
    "out = escapes()": "cannot leave the machine",
    "with a: pass": "not in the subset",
    "out = lambda: 1": "not in the subset",
    "assert a": "not in the subset",
}
WRONG = FUNCTIONS + """
def silent():
    a = 1
    return a
def wrong():
    BIG = 1
    return BIG
def round_and_round(): return round_and_round()
def defaults(x=1): return x
@subroutine
def peeks(): return a
@subroutine
def escapes():
    raise StopIteration
    return 1
"""


@pytest.mark.parametrize("body", REFUSED)
def test_outside_the_subset_is_an_error_with_its_line(body: str) -> None:
    with pytest.raises(MachineError) as error:
        machine(body, functions=WRONG)
    assert REFUSED[body] in str(error.value)
    assert str(error.value).startswith("test:")


def test_an_error_names_file_line_and_column() -> None:
    with pytest.raises(MachineError, match="^here:3:11: not in the subset: a / b$"):
        compile_machine("def run():\n    global a\n    a  =  a / b\n", {}, ("a", "b"), {},
                        where="here")


def test_a_syntax_error_is_a_machine_error() -> None:
    with pytest.raises(MachineError, match="^here:1:"):
        compile_machine("def run(:", {}, (), {}, where="here")


@pytest.mark.parametrize("kind", ["f8[4]", "u1", "u1[]", "u1[x]", "u1[4"])
def test_an_array_type_needs_a_kind_and_a_size(kind: str) -> None:
    with pytest.raises(MachineError, match="array type"):
        compile_machine("def run(): pass", {}, (), {"mem": kind})


def test_run_refuses_a_buffer_of_another_type_or_size() -> None:
    run = machine("out = 1")
    good = [np.zeros(4, np.int64), np.zeros(256, np.uint8), np.zeros(5, np.uint16),
            np.zeros(4, np.int64)]
    run(*good)
    for bad in (np.zeros(255, np.uint8), np.zeros(256, np.int8), np.zeros(512, np.uint8)[::2]):
        with pytest.raises(MachineError, match="mem"):
            run(good[0], bad, *good[2:])
    with pytest.raises(MachineError, match="run takes"):
        run(*good[:2])


def test_two_machines_run_at_the_same_time() -> None:
    run = machine("for i in range(100000): out += i & a", level=1)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(outcome(run, 255, 0)[0][2]))
               for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [sum(i & 255 for i in range(100000))] * 2


SCRIPT = """
import numpy as np
from anachron.emulators.jit import compile_machine
run = compile_machine("def run():\\n    global a\\n    a = a + {0}\\n", {{}}, ("a",), {{}}, level=0)
state = np.array([1]); run(state); print(state[0])
"""


def answer(number: int, cache: object) -> str:
    return subprocess.run([sys.executable, "-c", SCRIPT.format(number)], check=True, text=True,
                          capture_output=True, env={**os.environ, "XDG_CACHE_HOME": str(cache)}
                          ).stdout.strip()


def test_a_damaged_or_missing_cache_changes_nothing(tmp_path) -> None:
    assert answer(41, tmp_path) == "42"
    [kept] = (tmp_path / "anachron").glob("*.o")
    assert answer(41, tmp_path) == "42"
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 255
    kept.write_bytes(data)
    assert answer(41, tmp_path) == "42"
    assert answer(41, "/dev/null") == "42"


def test_the_cache_lies_where_the_user_keeps_caches(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "anachron"

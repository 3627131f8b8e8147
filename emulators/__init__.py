"""The machines: they stand alone and run any image, not only ours.

    m = create("c64")
    m.load("chat.prg")
    m.run(max_cycles=10_000_000, until="forward_done")

To add a machine: a row in MACHINES. What they all have in common is in docs of `Mos6502`
(mos6502/machine.py): memory, registers, step, run, load, hooks, profile, snapshot.
"""

if __name__ != "anachron.emulators":
    raise ImportError("import anachron.emulators, not emulators; run `pip install -e .` first")

from collections.abc import Mapping
from importlib import import_module
from typing import Any

# name -> (module, what makes one, its first argument or None); imported when asked for.
MACHINES: Mapping[str, tuple[str, str, str | None]] = {
    "6502": ("mos6502.machine", "Mos6502", None),
    "c64": ("mos6502.c64", "create_c64", "c64"),
    "c64+reu": ("mos6502.c64", "create_c64", "c64+reu"),
    "c64+crt": ("mos6502.c64", "create_c64", "c64+crt"),
    "pdp11": ("pdp11.machines", "create_pdp11", "pdp11"),
    "pdp11/20": ("pdp11.machines", "create_pdp11", "pdp11/20"),
    "pdp11/34a": ("pdp11.machines", "create_pdp11", "pdp11/34a"),
}


def create(name: str, **options: Any) -> Any:
    """A machine, reset; ValueError if there is none of that name.

    >>> m = create("6502")
    >>> m.memory[0xC000] = 0xEA
    >>> m.registers["pc"] = 0xC000
    >>> m.step()
    2
    """
    if name not in MACHINES:
        raise ValueError(f"no machine {name!r}: there are {', '.join(MACHINES)}")
    module, maker, first = MACHINES[name]
    make = getattr(import_module(f"{__name__}.{module}"), maker)
    return make(**options) if first is None else make(first, **options)

"""The C64's chips as one machine: their texts compiled into one loop, and their state at power-on.

cpu.py and alu.py are the 6510, banks.py what it sees, vic.py, sprites.py, cia.py and reu.py the
chips, and devices.py the wires between them. All share their globals: each file's FIELDS are the
state that it owns, the arrays below belong to all.

To add a chip: a module here and in MODULES, its arrays in ARRAYS, its wires in devices.py.
"""

from functools import cache
from typing import Any

import numpy as np

from anachron.emulators.jit import compile_machine, interpret_machine
from anachron.emulators.mos6502 import alu, banks, cia, cpu, devices, reu, sprites, vic
from anachron.emulators.mos6502.machine import Run, assemble_text

MODULES = (cpu, alu, banks, vic, sprites, cia, reu, devices)
FIELDS = tuple(name for module in MODULES for name in getattr(module, "FIELDS", ()))
REU_LIMIT = 0x1000000
ARRAYS = {
    "mem": f"u1[{banks.SPACE}]", "attr": f"u1[{banks.SPACE}]", "profile": "i8[65536]",
    "bank": "i4[32]", "cia": "i8[128]", "keys": "u1[16]", "reu": f"u1[{REU_LIMIT}]",
    "sprites": "u1[16]", "sid_log": f"i8[{devices.SID_LOG}]",
}

# Cycles a second, a line, and lines a frame: PAL (8565) and NTSC (8562).
PAL, NTSC = (985_248, 63, 312, 50), (1_022_730, 65, 263, 60)


@cache
def clockwork(profile: bool, compiled: bool) -> Run:
    """The whole machine's run function; compiled once a process."""
    text, constants = assemble_text(MODULES)
    build = compile_machine if compiled else interpret_machine
    return build(text, {**constants, "BANKED": True, "PROFILE": profile}, cpu.REGISTERS, ARRAYS,
                 fields=FIELDS, where="c64")


def make_arrays() -> dict[str, np.ndarray]:
    """The arrays, with the flags of the addresses where devices answer."""
    arrays = {}
    for name, text in ARRAYS.items():
        kind, _, size = text.rstrip("]").partition("[")
        arrays[name] = np.zeros(int(size), kind)
    attr = arrays["attr"]
    attr[0:2] = cpu.WRITE
    attr[devices.DEVICES + 0xD000:devices.DEVICES + 0xE000] = cpu.READ | cpu.WRITE
    attr[devices.DEVICES + 0xD800:devices.DEVICES + 0xDC00] = cpu.READ
    arrays["mem"][banks.ALL_ONES:banks.ALL_ONES + 0x1000] = 0xFF
    return arrays


def power_on(ntsc: bool, old_cia: bool) -> dict[str, int]:
    """The fields that are not 0 when the machine is switched on."""
    hz, cycles, lines, mains = NTSC if ntsc else PAL
    return {
        "ba_from": cpu.NEVER, "ba_until": cpu.NEVER, "vic_since": cpu.NEVER,
        "raster_at": 1, "latched_frame": -1, "reu_since": cpu.NEVER,
        "line_cycles": cycles, "frame_lines": lines, "cpu_hz": hz, "tod_hz": mains,
        "sprite_x": 55 if ntsc else 54, "old_cia": int(old_cia), "exrom": 1, "game": 1,
        "port_input": 0x17, "port_output": 0x37,
        "noise": 0x7FFFF8, "length": 0xFFFF, "length_reload": 0xFFFF, "reu_command": 0x10,
    }


def reset_chips(arrays: dict[str, np.ndarray]) -> None:
    """The chips' arrays as /RES leaves them."""
    chips = arrays["cia"]
    chips[:] = 0
    for n in (0, cia.CIA_2):
        for name in (cia.LATCH, cia.COUNT):
            chips[n + name:n + name + 2] = 0xFFFF
        chips[n + cia.PIPE:n + cia.PIPE + 2] = cia.SYSTEM_CLOCK
        chips[n + cia.SINCE] = cpu.NEVER
        chips[n + cia.TOD + 3] = 1
        chips[n + cia.TOD_AT] = 1
    chips[cia.ICR_READ:cia.ICR_READ + 2] = -2
    arrays["keys"][:] = 0xFF
    mem = arrays["mem"]
    mem[devices.DEVICES + 0xD000:devices.DEVICES + 0xD800] = 0
    mem[0:2] = (0x2F, 0x37)


def cpu_view(arrays: dict[str, Any], address: int) -> int:
    """Where in mem an address is read just now."""
    return address + int(arrays["bank"][address >> 12])

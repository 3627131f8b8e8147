"""The machines that `create` makes: a processor, its memory and its devices, one row each.

To add a machine: a row in MACHINES, and one in emulators/__init__.py.
"""

from dataclasses import dataclass

from anachron.emulators.pdp11.dl11 import Dl11
from anachron.emulators.pdp11.ke11 import Ke11
from anachron.emulators.pdp11.kw11 import Kw11
from anachron.emulators.pdp11.machine import Pdp11
from anachron.emulators.pdp11.pc11 import Pc11
from anachron.emulators.pdp11.switches import Switches
from anachron.emulators.pdp11.timing import DEFAULT
from anachron.emulators.pdp11.unibus import Device


@dataclass(frozen=True)
class Machine:
    """One row."""

    model: str
    memory: int  # bytes, unless asked for otherwise
    largest: int
    flat: bool  # nothing but memory, also where the I/O page is


MACHINES = {
    "pdp11": Machine("pdp11/34a", 0o200000, 0o200000, flat=True),
    "pdp11/20": Machine("pdp11/20", 0o160000, 0o160000, flat=False),
    "pdp11/34a": Machine("pdp11/34a", 0o160000, 0o760000, flat=False),
}
CONSOLE_BAUD = 9600  # ll-34's; a Teletype Model 33 is 110


def create_pdp11(name: str, memory: int | None = None, timing: str | None = None,
                 baud: int = CONSOLE_BAUD, hertz: int = 60, switches: int = 0,
                 ke11: bool = False, compiled: bool = True) -> Pdp11:
    """A PDP-11, reset.

    memory    bytes, a multiple of 1024
    timing    a row of timing.py, else the machine's own
    baud      the console's speed; 0 for no waiting
    hertz     the line clock's frequency, 50 or 60
    switches  the switch register
    ke11      the KE11-A arithmetic element, for machines that lack MUL and DIV
    compiled  machine code; else the same text in CPython, slowly
    """
    row = MACHINES[name]
    memory = row.memory if memory is None else memory
    if not 1024 <= memory <= row.largest or memory % 1024:
        raise ValueError(f"{name}: {memory} bytes of memory: a multiple of 1024 "
                         f"up to {row.largest} allowed")
    devices: list[Device] = []
    if not row.flat:
        devices = [Dl11(baud), Kw11(hertz), Pc11(), Switches(switches)]
        devices += [Ke11()] if ke11 else []
    return Pdp11(name, row.model, memory, timing or DEFAULT[name], devices, row.flat, compiled)

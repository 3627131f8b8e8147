"""KERNAL calls -> what they do to memory, registers and time, with no ROM of Commodore's.

The stand-in ROM (rom.py) stops the processor at a service's address; `serve` does the service's
work on the machine and lets the processor go on at the RTS behind it. To add a call: a function
and a row in SERVICES.

start.py       memory and chips at READY     console.py  keys and the screen, call by call
interrupt.py   60 times a second             editor.py   the screen itself: cursor, lines, modes
files.py       LOAD, OPEN and their kin      channels.py numbered files and the diskette
basic.py       READY, RUN of a SYS line      rom.py      what is mapped in place of the ROMs

A service takes the cycles that Commodore's code takes in the common case, measured with VICE 3.10
(screen blanked, interrupts off), the JSR, the jump through the vector and the RTS not included.
They are approximate where the work depends on the data; LOAD, a key that is echoed, the interrupt
with a cursor or a key, RAMTAS and READY are estimates. A service that waits for a key runs a loop
of the processor's own, so interrupts and the clock go on.

Sources: Commodore 64 Programmer's Reference Guide (1982), ch. 5; Mapping the Commodore 64
(S. Leemon, 1984), pages 0 to 3 and $E000-$FFFF.
"""

if __name__ != "anachron.emulators.mos6502.kernal":
    raise ImportError("import anachron.emulators.mos6502.kernal, not kernal")

from collections.abc import Callable
from typing import NamedTuple

from anachron.emulators.mos6502.kernal import basic, console, files, interrupt, rom, start
from anachron.emulators.mos6502.kernal.channels import ChannelError
from anachron.emulators.mos6502.kernal.state import Kernal


class Service(NamedTuple):
    """A row of the table: what a call does, and the cycles it takes besides its RTS."""

    work: Callable[[Kernal], str | None]
    cycles: int


SERVICES: dict[int, Service] = {
    0xE544: Service(console.clear_screen, 39_677),
    0xE566: Service(console.home, 86),
    0xE716: Service(console.print_screen, 0),
    rom.KEY: Service(console.key, 150),
    rom.IRQ_SERVICE: Service(interrupt.interrupt, 300),
    0xEA87: Service(interrupt.scnkey, 53),
    rom.GETIN_KEY: Service(console.getin, 0),
    0xF157: Service(console.chrin, 120),
    0xF1CA: Service(console.chrout, 0),
    0xF20E: Service(files.chkin, 83),
    0xF250: Service(files.chkout, 84),
    0xF291: Service(files.close, 96),
    0xF32F: Service(files.clall, 27),
    0xF333: Service(files.clrchn, 22),
    0xF34A: Service(files.open, 87),
    0xF4A5: Service(files.load, 1000),
    0xF5ED: Service(files.save, 100),
    0xF6ED: Service(console.stop, 8),
    0xFE66: Service(basic.breakpoint, 20),
    0xFF81: Service(start.cint, 45_230),
    0xFF84: Service(start.ioinit, 132),
    0xFF87: Service(start.ramtas, 1_500_000),
    0xFF8A: Service(start.restor, 880),
    0xFF8D: Service(start.vector, 746),
    0xFF90: Service(files.setmsg, 15),
    0xFF99: Service(start.memtop, 21),
    0xFF9C: Service(start.membot, 21),
    0xFFB7: Service(files.readst, 20),
    0xFFBA: Service(files.setlfs, 12),
    0xFFBD: Service(files.setnam, 12),
    0xFFDB: Service(interrupt.settim, 16),
    0xFFDE: Service(interrupt.rdtim, 27),
    0xFFED: Service(console.screen_size, 7),
    0xFFF0: Service(console.plot, 12),
    0xFFF3: Service(console.io_base, 7),
    0xAB1E: Service(basic.print_string, 0),
    basic.READY: Service(basic.ready, 1000),
    basic.WARM_START: Service(basic.ready, 1000),
    rom.DIRECT_CODE: Service(basic.direct_code, 60),
    0xBDCD: Service(basic.print_number, 8366),
}


def serve(k: Kernal) -> str | None:
    """Do the service at pc; a reason to stop the machine, or None to go on."""
    pc = k.get("pc")
    service = SERVICES.get(pc)
    if service is None:
        part = "BASIC" if pc < rom.KERNAL_START else "KERNAL"
        return (f"the {part} ROM is needed at ${pc:04X}: give the folder of your own ROM files "
                "(--roms)")
    k.machine.charge(service.cycles)
    k.set(pc=pc + 1)
    try:
        return service.work(k)
    except ChannelError as error:
        k.fail(error.number)
        return None

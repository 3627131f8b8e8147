"""The bus's other side: which device an access reaches, and what it costs the CPU when one needs
the bus for itself.

To add a device: a case in device_read and device_write, what happens by itself in devices_until,
and when it next may matter to the CPU in next_due.
"""

# The names that are not defined here are those of the whole machine: see clockwork.py.
# ruff: noqa: F821
# mypy: ignore-errors

import numpy as np

from anachron.emulators.jit import subroutine
from anachron.emulators.mos6502.isa import INSTRUCTIONS

FIELDS = "held key_reads sid_logging sid_logged noise errand errand_address errand_value".split()

WRITES = np.array([row.writes for row in INSTRUCTIONS], np.uint8)
LENGTHS = np.array([max(2, row.length) for row in INSTRUCTIONS], np.uint8)  # fetched, at least
DEVICES = 0x10000  # from an address in $D000-$DFFF to its place in mem
SID_LOG = 0x10000  # entries: cycle << 16 | register << 8 | value
ERRAND_READ, ERRAND_WRITE = 1, 2
NOP_CODE = 0xEA


# ---- time
def first_read():
    """When the instruction makes its first read at or after BA's fall."""
    began_late = began + held
    k = ba_from - began_late if ba_from > began_late else 0
    while k < 8 and WRITES[opcode] >> k & 1:
        k += 1
    return began_late + k


@subroutine
def bus_time(moment):
    """When a cycle of the instruction really happens: `held` grows by what the VIC-II takes."""
    global held
    moment += held
    while moment >= ba_from:
        waiting = first_read()
        if waiting > moment:
            break
        if waiting < ba_until:
            held += ba_until - waiting
            moment += ba_until - waiting
        plan_bus(ba_until)
    return moment


def stall():
    """Settle what the VIC-II has taken from the instruction that ends now."""
    global cycles, held
    if held or cycles > ba_from:
        bus_time(cycles - 1)
        cycles += held
        if PROFILE:
            profile[at] += held
        held = 0


@subroutine
def devices_until(now):
    """Let the devices do what they do by themselves up to now, and set the interrupt lines."""
    vic_until(now)
    cia_until(0, now)
    cia_until(CIA_2, now)
    set_irq(now)


def set_irq(now):
    """Wire the chips' interrupt lines together; a line let go may have been seen just before."""
    global irq_since, irq_was_since, irq_released, limit
    since = min_of(min_of(vic_since, cia[SINCE]), reu_since)
    if since == NEVER and irq_since < NEVER:
        irq_was_since = irq_since
        irq_released = now
        limit = 0
    irq_since = since


@subroutine
def next_due():
    """The next time at which a device may matter to the CPU."""
    when = min_of(ba_from, cia_due(0))
    when = min_of(when, cia_due(CIA_2))
    if mem[VIC + ENABLE] & RASTER_IRQ and not vic_flags & RASTER_IRQ:
        when = min_of(when, raster_at)
    return when


def transfer_all():
    """A transfer of the expansion, after the instruction that has triggered it."""
    global cycles
    if dma_waiting == STARTED:
        end = transfer(cycles)
        if PROFILE:
            profile[at] += end - cycles
        cycles = end
        devices_until(cycles)


# ---- accesses
@subroutine
def device_read(address, moment):
    """The byte that a device gives, to a read that would be at a moment but for a bad line."""
    global key_reads
    now = bus_time(moment)
    match address >> 8:
        case 0xD0 | 0xD1 | 0xD2 | 0xD3:
            vic_until(now)
            set_irq(now)
            return vic_read(address, now)
        case 0xD4 | 0xD5 | 0xD6 | 0xD7:
            return sid_read(address & 31)
        case 0xD8 | 0xD9 | 0xDA | 0xDB:
            return mem[DEVICES + address] | 0xF0
        case 0xDC:
            if address & 15 == 1:
                key_reads += 1
            cia_until(0, now)
            set_irq(now)
            m = cia_read(0, address, now)
            set_irq(now)
            return m
        case 0xDD:
            return cia_read(CIA_2, address, now)
        case 0xDF:
            if reu_size:
                m = reu_read(address)
                set_irq(now)
                return m
    return mem[DEVICES + address]


@subroutine
def device_write(address, m, moment):
    """A byte for a device, the processor port, or the address that starts a transfer."""
    global limit
    now = bus_time(moment)
    if address < 2:
        port_write(address, m)
        return
    if address == 0xFF00:
        mem[address] = m
        trigger_ff00()
        return
    match address >> 8:
        case 0xD0 | 0xD1 | 0xD2 | 0xD3:
            vic_until(now)
            set_irq(now)
            vic_write(address, m, now)
        case 0xD4 | 0xD5 | 0xD6 | 0xD7:
            sid_write(address & 31, m, now)
        case 0xDC:
            cia_write(0, address, m, now)
        case 0xDD:
            cia_write(CIA_2, address, m, now)
        case 0xDE:
            cartridge_write(address, m)
        case 0xDF:
            if reu_size:
                reu_write(address, m)
    set_irq(now)
    limit = 0


@subroutine
def fetch_from_device(address, now):
    """The CPU is about to run code in a CIA's registers, or in the colours: let it see them."""
    global opcode
    opcode = NOP_CODE  # it only reads
    first = device_read(address, now)
    for i in range(LENGTHS[first]):
        where = (address + i) & 0xFFFF
        if where >= 0xD800 and attr[place(where)] & READ:
            m = first if i == 0 else device_read(where, now + i)
            if where >= 0xDC00:
                mem[place(where)] = m


# ---- the SID: what was written to it is kept, and logged for whoever plays it
def sid_read(register):
    """Paddles nobody turns, and voice 3: noise, if not the chip's own."""
    global noise
    match register:
        case 25 | 26:
            return 0xFF
        case 27 | 28:
            noise = (noise << 1 | (noise >> 22 ^ noise >> 17) & 1) & 0x7FFFFF
            return noise >> 8 & 0xFF
    return 0


def sid_write(register, m, now):
    global sid_logged
    mem[DEVICES + 0xD400 + register] = m
    if sid_logging and sid_logged < SID_LOG:
        sid_log[sid_logged] = now << 16 | register << 8 | m
        sid_logged += 1


def do_errand():
    """Read or write once for someone outside, between two instructions."""
    global errand, errand_value, began, opcode
    began = cycles + 1  # outside of all instructions: nothing is taken from it
    opcode = NOP_CODE
    if errand == ERRAND_READ:
        k = place(errand_address)
        errand_value = mem[k]
        if attr[k] & READ:
            errand_value = device_read(errand_address, cycles)
    else:
        k = errand_address + bank[PAGE_WRITES + (errand_address >> 12)]
        if attr[k] & WRITE:
            device_write(errand_address, errand_value, cycles)
        else:
            mem[k] = errand_value
    errand = 0

"""The RAM Expansion Unit: bytes between its own memory and the C64's, one a cycle.

A transfer begins after the instruction that triggers it (a store to the command register, or to
$FF00 if so commanded) and holds the CPU until it is done: a cycle a byte, two for an exchange.
A bad line holds the transfer. The unit sees memory as the CPU does, except at $0000 and $0001,
where it reaches the RAM. Its addresses wrap inside a block of 512 KB; the upper bits stay.

    $DF00 status    $DF01 command    $DF02 C64 address    $DF04 REU address, $DF06 its bank
    $DF07 length    $DF09 interrupts    $DF0A which addresses stay fixed

Sources: Commodore 1700/1764/1750 RAM Expansion Module User's Guide (1987), ch. on the registers;
VICE's x64sc, measured, for the time.
"""

# The names that are not defined here are those of the whole machine: see clockwork.py.
# ruff: noqa: F821
# mypy: ignore-errors

from anachron.emulators.jit import subroutine

FIELDS = ("reu_size reu_status reu_command reu_interrupts reu_fixed dma_waiting "
          "host_at host_reload reu_at reu_reload length length_reload reu_since").split()

EXECUTE, AUTOLOAD, NOW = 0x80, 0x20, 0x10  # of the command; NOW: do not wait for $FF00
STASH, FETCH, SWAP, VERIFY = 0, 1, 2, 3
ENDED, FAULT = 0x40, 0x20  # of the status and of the interrupts
BLOCK = 0x80000
ARMED, STARTED = 2, 1  # dma_waiting


def reu_read(register):
    global reu_status, reu_since
    match register & 31:
        case 0:
            m = reu_status | 0x10
            reu_status = 0
            reu_since = NEVER
            return m
        case 1:
            return reu_command
        case 2:
            return host_at & 0xFF
        case 3:
            return host_at >> 8
        case 4:
            return reu_at & 0xFF
        case 5:
            return reu_at >> 8 & 0xFF
        case 6:
            return reu_at >> 16 | (0xF8 if reu_size <= BLOCK else 0)
        case 7:
            return length & 0xFF
        case 8:
            return length >> 8 & 0xFF
        case 9:
            return reu_interrupts | 0x1F
        case 10:
            return reu_fixed | 0x3F
    return 0xFF


def reu_write(register, m):
    global reu_command, reu_interrupts, reu_fixed, dma_waiting, limit
    global host_at, host_reload, reu_at, reu_reload, length, length_reload
    match register & 31:
        case 1:
            reu_command = m
            dma_waiting = 0
            if m & EXECUTE:
                dma_waiting = STARTED if m & NOW else ARMED
                limit = 0
            watch_ff00()
        case 2:
            host_at = host_reload = host_reload & 0xFF00 | m
        case 3:
            host_at = host_reload = host_reload & 0xFF | m << 8
        case 4:
            reu_at = reu_reload = reu_reload & 0xFFFF00 | m
        case 5:
            reu_at = reu_reload = reu_reload & 0xFF00FF | m << 8
        case 6:
            reu_at = reu_reload = reu_reload & 0xFFFF | m << 16
        case 7:
            length = length_reload = length_reload & 0xFF00 | m
        case 8:
            length = length_reload = length_reload & 0xFF | m << 8
        case 9:
            reu_interrupts = m & 0xE0
        case 10:
            reu_fixed = m & 0xC0


def watch_ff00():
    """A store to $FF00 matters while a transfer is armed."""
    if dma_waiting == ARMED:
        attr[0xFF00] |= WRITE
    else:
        attr[0xFF00] &= 0xFF ^ WRITE


def trigger_ff00():
    global dma_waiting, limit
    if dma_waiting == ARMED:
        dma_waiting = STARTED
        watch_ff00()
        limit = 0


def next_reu(address):
    """One further, inside the block that the unit's size or 512 KB makes."""
    inside = (BLOCK if reu_size >= BLOCK else reu_size) - 1
    return address & ~inside | (address + 1) & inside


def host_read(address, now):
    if address < 2:
        return mem[UNDER_PORT + address]
    k = place(address)
    if attr[k] & READ:
        return device_read(address, now)
    return mem[k]


def host_write(address, m, now):
    if address < 2:
        mem[UNDER_PORT + address] = m
        return
    k = address + bank[PAGE_WRITES + (address >> 12)]
    if attr[k] & WRITE:
        device_write(address, m, now)
    else:
        mem[k] = m


def when_free(now):
    """When the bus is free: now, or when the VIC-II has done with it."""
    while now >= ba_from:
        if now < ba_until:
            now = ba_until
        plan_bus(now)
    return now


@subroutine
def transfer(now):
    """Do the transfer from now on; when it ends."""
    global dma_waiting, reu_status, reu_command, host_at, reu_at, length, reu_since
    dma_waiting = 0
    kind = reu_command & 3
    n = length if length else 0x10000
    equal = 1
    while n and equal:
        now = when_free(now)
        k = reu_at & (reu_size - 1)
        match kind:
            case 0:
                reu[k] = host_read(host_at, now)
            case 1:
                host_write(host_at, reu[k], now)
            case 2:
                m = host_read(host_at, now)
                now = when_free(now + 1)
                host_write(host_at, reu[k], now)
                reu[k] = m
            case 3:
                equal = host_read(host_at, now) == reu[k]
        now += 1
        n -= 1
        if reu_fixed & 0x80 == 0:
            host_at = (host_at + 1) & 0xFFFF
        if reu_fixed & 0x40 == 0:
            reu_at = next_reu(reu_at)
    reu_status = reu_status | (0 if equal else FAULT) | (ENDED if n == 0 else 0)
    length = n if n else 1
    if reu_command & AUTOLOAD:
        host_at = host_reload
        reu_at = reu_reload
        length = length_reload
    reu_command = reu_command & ~EXECUTE | NOW
    dma_waiting = 0
    if reu_interrupts & 0x80 and reu_status & reu_interrupts & (ENDED | FAULT):
        reu_status = reu_status | 0x80
        if reu_since == NEVER:
            reu_since = now
    return now

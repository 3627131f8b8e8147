"""The two CIAs: timers, time of day, keyboard and joystick ports, interrupts.

A running timer is not counted down: it is known when it will underflow (ZERO), and its value at
any time is the distance. A store to the control register at cycle t shows its effect two cycles
later, as in the chip:

    start               t+2: the count, t+3: one less ...     underflow at t + 2 + count
    start and load      t+2: the latch, t+3: again, t+4: less  underflow at t + 3 + latch
    underflow at u      u: the latch, u+1: again, u+2: less     the next at u + latch + 1

CIA 1 pulls /IRQ, CIA 2 pulls /NMI: at the underflow, or a cycle later for the older chip. The
serial register and the timers' outputs on port B are not there; CNT and FLAG have no edges.

Sources: MOS 6526 data sheet (1982); W. Lorenz, "A Software Model of the CIA6526" (1996) for the
cycles; VICE's x64sc for the newer 8521.
"""

# The names that are not defined here are those of the whole machine: see clockwork.py.
# ruff: noqa: F821
# mypy: ignore-errors

from anachron.emulators.jit import subroutine

FIELDS = "old_cia tod_hz cpu_hz".split()

# keys: the 8 columns of the keyboard, their rows low where pressed; then joysticks 2 and 1.
# cia: 32 numbers a chip. A is timer 0, B is timer 1: LATCH + 1 is B's.
CIA_2 = 32
PRA, PRB, DDRA, DDRB, LATCH, COUNT, ZERO, CONTROLS = 0, 1, 2, 3, 4, 6, 8, 10
MASK, FLAGS, SINCE, SERIAL = 12, 13, 14, 15
TOD, ALARM, TOD_LATCHED = 16, 20, 24  # tenths, seconds, minutes, hours each: BCD
TOD_RUNS, TOD_HOLDS, TOD_AT = 28, 29, 30  # ticking; reads are latched; the next tenth
TIMER_A_IRQ, TIMER_B_IRQ, ALARM_IRQ = 1, 2, 4


# ---- interrupts
def raise_flag(n, bit, when):
    cia[n + FLAGS] |= bit
    if cia[n + MASK] & bit:
        pull_low(n, when + old_cia)


def pull_low(n, when):
    """Pull the interrupt line low, if it is not low yet."""
    global nmi_since
    if cia[n + SINCE] == NEVER:
        cia[n + SINCE] = when
        if n == CIA_2 and when < nmi_since:
            nmi_since = when


# ---- timers
def counts_cycles(n, k):
    """Is timer k (0: A, 1: B) running on the system clock?"""
    return cia[n + CONTROLS + k] & (0x61 if k else 0x21) == 1


def cascaded(n):
    """Does timer B count timer A's underflows?"""
    return cia[n + CONTROLS + 1] & 0x41 == 0x41


def timer_value(n, k, now):
    if cia[n + ZERO + k] == NEVER:
        return cia[n + COUNT + k]
    return min_of(cia[n + ZERO + k] - now, cia[n + COUNT + k])


def cascade(n, first, pulses, period):
    """Timer B counts underflows of timer A: some pulses, the first at a time, then periodic."""
    when = first
    while pulses > cia[n + COUNT + 1] and cascaded(n):
        when += cia[n + COUNT + 1] * period
        pulses -= cia[n + COUNT + 1] + 1
        raise_flag(n, TIMER_B_IRQ, when + 1)
        when += period
        cia[n + COUNT + 1] = cia[n + LATCH + 1]
        if cia[n + CONTROLS + 1] & 8:
            cia[n + CONTROLS + 1] &= 0xFE
    if cascaded(n):
        cia[n + COUNT + 1] -= pulses


def timer_until(n, k, now):
    """Let the underflows up to now happen."""
    if cia[n + ZERO + k] > now:
        return
    first = cia[n + ZERO + k]
    period = cia[n + LATCH + k] + 1
    pulses = 1
    cia[n + COUNT + k] = cia[n + LATCH + k]
    if cia[n + CONTROLS + k] & 8:
        cia[n + CONTROLS + k] &= 0xFE
        cia[n + ZERO + k] = NEVER
    else:
        pulses = (now - first) // period + 1
        cia[n + ZERO + k] = first + pulses * period
    raise_flag(n, TIMER_A_IRQ << k, first)
    if k == 0 and cascaded(n):
        cascade(n, first, pulses, period)


def control_timer(n, k, m, now):
    """A store to a timer's control register."""
    was = counts_cycles(n, k)
    if was:  # it goes on for two cycles
        value = timer_value(n, k, now + 2)
        if cia[n + ZERO + k] <= now + 2 and not m & 1:
            raise_flag(n, TIMER_A_IRQ << k, cia[n + ZERO + k])
            value = cia[n + LATCH + k]
        if not (m & 1 and m & (0x60 if k else 0x20) == 0):
            cia[n + COUNT + k] = value
            cia[n + ZERO + k] = NEVER
    cia[n + CONTROLS + k] = m & 0xEF
    runs = counts_cycles(n, k)
    if m & 0x10:
        cia[n + COUNT + k] = cia[n + LATCH + k]
        if runs:
            cia[n + ZERO + k] = now + 3 + cia[n + LATCH + k]
    elif runs and not was:
        cia[n + ZERO + k] = now + 2 + cia[n + COUNT + k]


def set_latch(n, k, high, m):
    """A store to a timer's latch; the high byte of one that stands still is loaded at once."""
    if high:
        cia[n + LATCH + k] = cia[n + LATCH + k] & 0xFF | m << 8
        if not cia[n + CONTROLS + k] & 1:
            cia[n + COUNT + k] = cia[n + LATCH + k]
    else:
        cia[n + LATCH + k] = cia[n + LATCH + k] & 0xFF00 | m


# ---- time of day
def bcd_next(m):
    return m + 7 if m & 15 == 9 else m + 1


def tod_tick(n):
    """A tenth of a second: 12:59:59.9 AM becomes 1:00:00.0."""
    if cia[n + TOD] < 9:
        cia[n + TOD] += 1
        return
    cia[n + TOD] = 0
    cia[n + TOD + 1] = 0 if cia[n + TOD + 1] == 0x59 else bcd_next(cia[n + TOD + 1]) & 0x7F
    if cia[n + TOD + 1]:
        return
    cia[n + TOD + 2] = 0 if cia[n + TOD + 2] == 0x59 else bcd_next(cia[n + TOD + 2]) & 0x7F
    if cia[n + TOD + 2]:
        return
    half = cia[n + TOD + 3] & 0x80
    hour = cia[n + TOD + 3] & 0x1F
    if hour == 0x11:
        half = half ^ 0x80
    cia[n + TOD + 3] = half | (1 if hour == 0x12 else bcd_next(hour) & 0x1F)


def tod_until(n, now):
    while cia[n + TOD_AT] <= now:
        # Bit 7 of control A says what the mains are taken for: 5 or 6 of their beats a tenth.
        beats = 5 if cia[n + CONTROLS] & 0x80 else 6
        if cia[n + TOD_RUNS]:
            tod_tick(n)
            if (cia[n + TOD] == cia[n + ALARM] and cia[n + TOD + 1] == cia[n + ALARM + 1]
                    and cia[n + TOD + 2] == cia[n + ALARM + 2]
                    and cia[n + TOD + 3] == cia[n + ALARM + 3]):
                raise_flag(n, ALARM_IRQ, cia[n + TOD_AT])
        cia[n + TOD_AT] += cpu_hz * beats // tod_hz


def tod_read(n, k):
    """Reading the hours holds the time as it is until the tenths are read."""
    if k == 3 and not cia[n + TOD_HOLDS]:
        for i in range(4):
            cia[n + TOD_LATCHED + i] = cia[n + TOD + i]
        cia[n + TOD_HOLDS] = 1
    m = cia[n + TOD_LATCHED + k] if cia[n + TOD_HOLDS] else cia[n + TOD + k]
    if k == 0:
        cia[n + TOD_HOLDS] = 0
    return m


def tod_write(n, k, m, now):
    """Writing the hours stops the clock until the tenths are written."""
    m = m & (0x9F if k == 3 else 0x7F if k else 0x0F)
    if cia[n + CONTROLS + 1] & 0x80:
        cia[n + ALARM + k] = m
        return
    if k == 3:
        cia[n + TOD_RUNS] = 0
        if m & 0x1F == 0x12:
            m = m ^ 0x80  # the chip turns over AM and PM when 12 is written
    elif k == 0 and not cia[n + TOD_RUNS]:
        cia[n + TOD_RUNS] = 1
        beats = 5 if cia[n + CONTROLS] & 0x80 else 6
        cia[n + TOD_AT] = now + cpu_hz * beats // tod_hz
    cia[n + TOD + k] = m


# ---- ports: columns of the keyboard on port A, rows on port B, both ways
def port(n, k):
    """The level of a port's lines, as far as the chip drives them: an input is high."""
    return (cia[n + PRA + k] | ~cia[n + DDRA + k]) & 0xFF


def read_columns():
    """Port A of CIA 1: pulled low by a key whose row is driven low, and by joystick 2."""
    driven = port(0, 1)
    m = port(0, 0)
    for i in range(8):
        if ~keys[i] & ~driven & 0xFF:
            m = m & ~(1 << i)
    return m & keys[8]


def read_rows():
    """Port B of CIA 1: pulled low by the keys of the columns driven low, and by joystick 1."""
    driven = port(0, 0)
    m = port(0, 1)
    for i in range(8):
        if not driven >> i & 1:
            m = m & keys[i]
    return m & keys[9]


def serial_bus():
    """Port A of CIA 2: nothing is on the serial bus, so it hears itself, inverted."""
    m = port(CIA_2, 0)
    return m & 0x3F | (~m & 0x30) << 2


# ---- the whole chip
@subroutine
def cia_until(n, now):
    timer_until(n, 0, now)
    timer_until(n, 1, now)
    tod_until(n, now)


@subroutine
def cia_due(n):
    """The next time at which the chip may pull its interrupt line."""
    when = NEVER
    if cia[n + SINCE] < NEVER:
        return NEVER
    if cia[n + MASK] & TIMER_A_IRQ:
        when = cia[n + ZERO]
    if cia[n + MASK] & TIMER_B_IRQ:
        when = min_of(when, cia[n + ZERO + 1])
        if cascaded(n) and cia[n + ZERO] < NEVER:
            when = min_of(when, cia[n + ZERO] + cia[n + COUNT + 1] * (cia[n + LATCH] + 1))
    if cia[n + MASK] & ALARM_IRQ:
        when = min_of(when, cia[n + TOD_AT])
    return when


@subroutine
def cia_read(n, register, now):
    cia_until(n, now)
    match register & 15:
        case 0:
            return serial_bus() if n else read_columns()
        case 1:
            return port(n, 1) if n else read_rows()
        case 2 | 3:
            return cia[n + (register & 15)]
        case 4:
            return timer_value(n, 0, now) & 0xFF
        case 5:
            return timer_value(n, 0, now) >> 8
        case 6:
            return timer_value(n, 1, now) & 0xFF
        case 7:
            return timer_value(n, 1, now) >> 8
        case 8 | 9 | 10 | 11:
            return tod_read(n, register & 3)
        case 12:
            return cia[n + SERIAL]
        case 13:
            m = cia[n + FLAGS] | (0x80 if cia[n + SINCE] <= now else 0)
            cia[n + FLAGS] = 0
            cia[n + SINCE] = NEVER
            return m
        case 14:
            return cia[n + CONTROLS]
    return cia[n + CONTROLS + 1]


@subroutine
def cia_write(n, register, m, now):
    cia_until(n, now)
    match register & 15:
        case 0 | 1 | 2 | 3:
            cia[n + (register & 15)] = m
        case 4 | 6:
            set_latch(n, register >> 1 & 1, 0, m)
        case 5 | 7:
            set_latch(n, register >> 1 & 1, 1, m)
        case 8 | 9 | 10 | 11:
            tod_write(n, register & 3, m, now)
        case 12:
            cia[n + SERIAL] = m
        case 13:
            if m & 0x80:
                cia[n + MASK] |= m & 0x1F
            else:
                cia[n + MASK] &= ~m & 0x1F
            if cia[n + FLAGS] & cia[n + MASK]:
                pull_low(n, now + 1 + old_cia)
        case 14:
            control_timer(n, 0, m, now)
        case _:
            control_timer(n, 1, m, now)

"""The two CIAs: timers, time of day, keyboard and joystick ports, interrupts.

A timer's control bits reach its counter through a pipeline (`PIPE`), so what is stored at cycle t
is felt later:

    start          t+2: the count, t+3: one less ...      COUNT2, COUNT3: two cycles on the way
    load           t+2: the latch, t+3: again             LOAD1, LOAD; swallows one count
    one-shot       decided when the timer underflows, now or a cycle ago
    underflow      at u: the latch, u+1: again, u+2: one less    0 is never seen

`chip_until` goes through that cycle by cycle only while something is in a pipeline; a timer that
just counts, or stands, is moved on at once. CIA 1 pulls /IRQ, CIA 2 pulls /NMI: at the underflow,
or a cycle later on the older 6526. The serial register is not there; CNT and FLAG have no edges.

Sources: MOS 6526 data sheet (1982); W. Lorenz, "A Software Model of the CIA6526" (1996) and his
test suite 2.15; VICE's x64sc for how the 8521 differs.
"""

# The names that are not defined here are those of the whole machine: see clockwork.py.
# ruff: noqa: F821
# mypy: ignore-errors

from anachron.emulators.jit import subroutine

FIELDS = "old_cia tod_hz cpu_hz".split()

# keys: the 8 columns of the keyboard, their rows low where pressed; then joysticks 2 and 1.
# cia: 32 numbers a chip. A is timer 0, B is timer 1: LATCH + 1 is B's.
CIA_2 = 32
PRA, PRB, DDRA, DDRB, LATCH, COUNT, PIPE, CONTROLS, TOGGLE = 0, 1, 2, 3, 4, 6, 8, 10, 12
MASK, FLAGS, SINCE, SERIAL = 14, 15, 16, 17
TOD, ALARM, TOD_LATCHED = 18, 22, 26  # tenths, seconds, minutes, hours each: BCD
TOD_STATE, TOD_AT = 30, 31  # bits below; the next tenth
CLOCK, ICR_READ = 64, 66  # when the timers are; the last time $D: 2 numbers each, a chip one
TOD_RUNS, TOD_HOLDS = 1, 2  # of TOD_STATE: ticking; reads are latched
TIMER_A_IRQ, TIMER_B_IRQ, ALARM_IRQ = 1, 2, 4

# PIPE: the control register's bits that matter (bit 5 turned round), and what is on the way.
START, STEP, ONESHOT, FORCE_LOAD, SYSTEM_CLOCK = 0x01, 0x04, 0x08, 0x10, 0x20
COUNT2, COUNT3, LOAD1, LOAD, ONESHOT1, ONESHOT2, UNDERFLOW = (
    0x02, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800)
CONTROL_BITS = START | ONESHOT | FORCE_LOAD | SYSTEM_CLOCK
COUNTING = START | SYSTEM_CLOCK | COUNT2 | COUNT3
FOREVER = 1 << 40


# ---- interrupts
def chip(n):
    return n >> 5


def raise_flag(n, bit, when):
    """Something has happened; on a newer chip whose register was read just before, a bit later."""
    cia[n + FLAGS] |= bit
    if cia[n + MASK] & bit:
        pull_low(n, when + (1 if old_cia or cia[ICR_READ + chip(n)] == when - 1 else 0))


def pull_low(n, when):
    """Pull the interrupt line low, if it is not low yet."""
    global nmi_since
    if cia[n + SINCE] == NEVER:
        cia[n + SINCE] = when
        if n == CIA_2 and when < nmi_since:
            nmi_since = when


def read_interrupts(n, now):
    """Reading $D tells what has happened, forgets it, and lets the line go: it may fall again."""
    global nmi_since, limit
    limit = 0
    m = cia[n + FLAGS] | (0x80 if cia[n + SINCE] <= now else 0)
    if n == CIA_2 and now < cia[n + SINCE] < NEVER:
        nmi_since = NEVER
    cia[n + FLAGS] = 0
    cia[n + SINCE] = NEVER
    cia[ICR_READ + chip(n)] = now
    return m


def write_interrupts(n, m, now):
    """Set or clear bits of the mask; what has happened before may interrupt now."""
    if m & 0x80:
        cia[n + MASK] |= m & 0x1F
    else:
        cia[n + MASK] &= ~m & 0x1F
    if cia[n + FLAGS] & cia[n + MASK] and (old_cia or cia[ICR_READ + chip(n)] != now - 1):
        pull_low(n, now + 1 + old_cia)


# ---- timers
def quiet(n, k):
    """For how many cycles a timer does nothing but count, or nothing."""
    pipe = cia[n + PIPE + k]
    settled = pipe & ONESHOT == (pipe & ONESHOT1) >> 6 == (pipe & ONESHOT2) >> 7
    if pipe & (FORCE_LOAD | LOAD1 | LOAD | STEP | UNDERFLOW) or not settled:
        return 0
    if pipe & COUNTING == COUNTING:
        return cia[n + COUNT + k] - 1
    if pipe & (COUNT2 | COUNT3) or pipe & (START | SYSTEM_CLOCK) == START | SYSTEM_CLOCK:
        return 0
    return FOREVER


def whole_periods(n, k, cycles_left):
    """The part of some cycles that timer k may skip because it only repeats itself."""
    period = cia[n + LATCH + k] + 1
    if (cia[n + PIPE + k] & ONESHOT or not cia[n + FLAGS] & TIMER_A_IRQ << k
            or quiet(n, 1 - k) < FOREVER or cascaded(n) or cia[n + COUNT + k] >= period):
        return 0
    n_periods = cycles_left // period
    cia[n + TOGGLE + k] ^= n_periods & 1
    return n_periods * period


def step_timer(n, k, when):
    """One cycle of a timer, to a time: the counter, then what moves up in the pipeline."""
    pipe = cia[n + PIPE + k]
    if pipe & COUNT3 and cia[n + COUNT + k]:
        cia[n + COUNT + k] -= 1
    following = pipe & (START | ONESHOT | SYSTEM_CLOCK)
    if pipe & START and pipe & SYSTEM_CLOCK:
        following |= COUNT2
    if pipe & COUNT2 or pipe & (STEP | START) == STEP | START:
        following |= COUNT3
    if pipe & FORCE_LOAD:
        following |= LOAD1
    if pipe & LOAD1:
        following |= LOAD
    if pipe & ONESHOT:
        following |= ONESHOT1
    if pipe & ONESHOT1:
        following |= ONESHOT2
    if cia[n + COUNT + k] == 0 and following & COUNT3:
        following |= LOAD | UNDERFLOW
        cia[n + TOGGLE + k] ^= 1
        raise_flag(n, TIMER_A_IRQ << k, when)
    if following & LOAD:
        cia[n + COUNT + k] = cia[n + LATCH + k]
        following &= ~COUNT3
    if following & UNDERFLOW and following & (ONESHOT1 | ONESHOT2):
        following &= ~(START | COUNT2)
        cia[n + CONTROLS + k] &= 0xFE
    cia[n + PIPE + k] = following


def cascaded(n):
    """Does timer B count timer A's underflows?"""
    return cia[n + CONTROLS + 1] & 0x41 == 0x41


def count_down(n, k, n_cycles):
    if cia[n + PIPE + k] & COUNTING == COUNTING:
        cia[n + COUNT + k] -= n_cycles


def chip_until(n, now):
    """Let both timers run up to now."""
    clock = CLOCK + chip(n)
    while cia[clock] < now:
        ahead = now - cia[clock]
        skip = min_of(min_of(quiet(n, 0), quiet(n, 1)), ahead)
        if skip > 0:
            count_down(n, 0, skip)
            count_down(n, 1, skip)
            cia[clock] += skip
            if cia[n + PIPE] & COUNTING == COUNTING:
                cia[clock] += whole_periods(n, 0, now - cia[clock])
            elif cia[n + PIPE + 1] & COUNTING == COUNTING:
                cia[clock] += whole_periods(n, 1, now - cia[clock])
        else:
            cia[clock] += 1
            step_timer(n, 0, cia[clock])
            step_timer(n, 1, cia[clock])
            if cia[n + PIPE] & UNDERFLOW and cascaded(n):
                cia[n + PIPE + 1] |= STEP


def timer_due(n, k):
    """A time before which a timer cannot underflow."""
    ahead = quiet(n, k)
    if ahead == FOREVER:
        return NEVER
    return cia[CLOCK + chip(n)] + 1 + ahead


def control_timer(n, k, m):
    """A store to a timer's control register."""
    if m & START and not cia[n + CONTROLS + k] & START:
        cia[n + TOGGLE + k] = 1
    cia[n + CONTROLS + k] = m & 0xEF
    bits = m ^ SYSTEM_CLOCK
    if k and m & 0x40:
        bits &= ~SYSTEM_CLOCK
    cia[n + PIPE + k] = cia[n + PIPE + k] & ~CONTROL_BITS | bits & CONTROL_BITS


def set_latch(n, k, high, m):
    """A store to a timer's latch; the high byte of one that stands still is loaded at once."""
    if high:
        cia[n + LATCH + k] = cia[n + LATCH + k] & 0xFF | m << 8
        if cia[n + PIPE + k] & LOAD or not cia[n + PIPE + k] & START:
            cia[n + COUNT + k] = cia[n + LATCH + k]
    else:
        cia[n + LATCH + k] = cia[n + LATCH + k] & 0xFF00 | m
        if cia[n + PIPE + k] & LOAD:
            cia[n + COUNT + k] = cia[n + COUNT + k] & 0xFF00 | m


def timer_outputs(n, m):
    """Port B as the timers drive it: bit 6 by A, bit 7 by B, a pulse or toggling."""
    for k in range(2):
        if cia[n + CONTROLS + k] & 2:
            level = (cia[n + TOGGLE + k] if cia[n + CONTROLS + k] & 4
                     else cia[n + PIPE + k] & UNDERFLOW)
            m = m & ~(0x40 << k) | (0x40 << k if level else 0)
    return m


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
        if cia[n + TOD_STATE] & TOD_RUNS:
            tod_tick(n)
            if (cia[n + TOD] == cia[n + ALARM] and cia[n + TOD + 1] == cia[n + ALARM + 1]
                    and cia[n + TOD + 2] == cia[n + ALARM + 2]
                    and cia[n + TOD + 3] == cia[n + ALARM + 3]):
                raise_flag(n, ALARM_IRQ, cia[n + TOD_AT])
        cia[n + TOD_AT] += cpu_hz * beats // tod_hz


def tod_read(n, k):
    """Reading the hours holds the time as it is until the tenths are read."""
    if k == 3 and not cia[n + TOD_STATE] & TOD_HOLDS:
        for i in range(4):
            cia[n + TOD_LATCHED + i] = cia[n + TOD + i]
        cia[n + TOD_STATE] |= TOD_HOLDS
    m = cia[(n + TOD_LATCHED if cia[n + TOD_STATE] & TOD_HOLDS else n + TOD) + k]
    if k == 0:
        cia[n + TOD_STATE] &= ~TOD_HOLDS
    return m


def tod_write(n, k, m, now):
    """Writing the hours stops the clock until the tenths are written."""
    m = m & (0x9F if k == 3 else 0x7F if k else 0x0F)
    if cia[n + CONTROLS + 1] & 0x80:
        cia[n + ALARM + k] = m
        return
    if k == 3:
        cia[n + TOD_STATE] &= ~TOD_RUNS
        if m & 0x1F == 0x12:
            m = m ^ 0x80  # the chip turns over AM and PM when 12 is written
    elif k == 0 and not cia[n + TOD_STATE] & TOD_RUNS:
        cia[n + TOD_STATE] |= TOD_RUNS
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
    chip_until(n, now)
    tod_until(n, now)


@subroutine
def cia_due(n):
    """A time before which the chip will not pull its interrupt line."""
    when = NEVER
    if cia[n + SINCE] < NEVER:
        return NEVER
    if cia[n + MASK] & TIMER_A_IRQ:
        when = timer_due(n, 0)
    if cia[n + MASK] & TIMER_B_IRQ:
        when = min_of(when, timer_due(n, 1))
        if cascaded(n) and timer_due(n, 0) < NEVER:
            when = min_of(when, timer_due(n, 0)
                          + cia[n + COUNT + 1] * (cia[n + LATCH] + 1))
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
            return timer_outputs(n, port(n, 1) if n else read_rows())
        case 2 | 3:
            return cia[n + (register & 15)]
        case 4:
            return cia[n + COUNT] & 0xFF
        case 5:
            return cia[n + COUNT] >> 8
        case 6:
            return cia[n + COUNT + 1] & 0xFF
        case 7:
            return cia[n + COUNT + 1] >> 8
        case 8 | 9 | 10 | 11:
            return tod_read(n, register & 3)
        case 12:
            return cia[n + SERIAL]
        case 13:
            return read_interrupts(n, now)
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
            write_interrupts(n, m, now)
        case 14:
            control_timer(n, 0, m)
        case _:
            control_timer(n, 1, m)

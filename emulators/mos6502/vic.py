"""The VIC-II as far as a program can tell: the beam, its interrupt, and the cycles it takes.

    cycle  1          12      15                             54 55            63 (NTSC: 65)
           |raster    |BA low |40 fetches of a bad line       | |CPU again
           |compared  | reads stop, up to 3 writes still pass

In a bad line (line & 7 equals YSCROLL, $30 to $F7, the screen switched on in line $30) the chip
needs the bus for the characters of the next row, and the CPU stands still: 43 cycles, 40 if it
happens to write. When that happens next is known in advance, so it is planned (`ba_from`,
`ba_until`) and nothing is done in between; the same for the raster interrupt (`raster_at`).
A write to $D011 or $D012 plans anew. Sprites (sprites.py) take cycles, but show no picture.

Here time is counted in cycles, 0-based in the line: cycle 12 is x = 11.

Sources: C. Bauer, "The MOS 6567/6569 video controller (VIC-II) and its application in the
Commodore 64" (1996), sections 3.4 to 3.6 and 3.12; figures of both systems measured with VICE's
x64sc.
"""

# The names that are not defined here are those of the whole machine: see clockwork.py.
# ruff: noqa: F821
# mypy: ignore-errors

from anachron.emulators.jit import subroutine

FIELDS = ("ba_from ba_until line_cycles frame_lines latched_frame latched_den "
          "raster_at vic_flags vic_since").split()

VIC = 0x1D000  # its registers in mem: what was written
CONTROL, RASTER, FLAGS_REGISTER, ENABLE = 0x11, 0x12, 0x19, 0x1A
DEN = 0x10
FIRST_BAD_LINE, LAST_BAD_LINE = 0x30, 0xF7
BA_LOW_X, BUS_FREE_X = 11, 54
RASTER_IRQ = 1


def den():
    return mem[VIC + CONTROL] & DEN


def line_at(now):
    """The number that $D012 and bit 7 of $D011 show: line 0 is a cycle late."""
    t = now % (line_cycles * frame_lines)
    return t // line_cycles if t else frame_lines - 1


def latch_den(now):
    """Remember whether this frame has bad lines, before DEN changes."""
    global latched_frame, latched_den
    frame = now // (line_cycles * frame_lines)
    line = now % (line_cycles * frame_lines) // line_cycles
    if line >= FIRST_BAD_LINE and latched_frame != frame:
        latched_frame = frame
        latched_den = den()


def bad_lines_allowed(now):
    """Was DEN set at some time in line $30 of this frame (before that line: is it set now)?"""
    frame = now // (line_cycles * frame_lines)
    return latched_den if latched_frame == frame else den()


@subroutine
def plan_bad_line(now):
    """The next bad line's stretch, from now on, in which BA is low."""
    global ba_from, ba_until
    frame_cycles = line_cycles * frame_lines
    begin = now - now % frame_cycles
    line = (now - begin) // line_cycles
    if now - begin - line * line_cycles >= BUS_FREE_X:
        line += 1
    if line < FIRST_BAD_LINE:
        line = FIRST_BAD_LINE
    scroll = mem[VIC + CONTROL] & 7
    line += (scroll - line) & 7
    if line > LAST_BAD_LINE or not bad_lines_allowed(now):
        begin += frame_cycles
        line = FIRST_BAD_LINE + (scroll - FIRST_BAD_LINE & 7)
        if not den():
            begin = NEVER
    ba_from = begin + line * line_cycles + BA_LOW_X
    ba_until = begin + line * line_cycles + BUS_FREE_X
    if ba_from < now:
        ba_from = now


@subroutine
def plan_bus(now):
    """The next stretch of cycles, from now on, in which the CPU cannot read."""
    global ba_from, ba_until
    plan_sprites(now)
    sprites_from = ba_from
    sprites_end = ba_until
    plan_bad_line(now)
    if sprites_from < ba_from:
        ba_from = sprites_from
        ba_until = sprites_end


def compared_line():
    return mem[VIC + RASTER] | (mem[VIC + CONTROL] & 0x80) << 1


def plan_raster(now):
    """The next time, from now on, at which the beam reaches the compared line."""
    global raster_at
    line = compared_line()
    frame_cycles = line_cycles * frame_lines
    raster_at = now - now % frame_cycles + (line * line_cycles if line else 1)
    if raster_at < now:
        raster_at += frame_cycles
    if line >= frame_lines:
        raster_at = NEVER


def vic_line(now):
    """Set the interrupt line from the flags and what is enabled."""
    global vic_since
    if vic_flags & mem[VIC + ENABLE] & 15:
        if vic_since == NEVER:
            vic_since = now
    else:
        vic_since = NEVER


def vic_until(now):
    """The beam has come to here."""
    global vic_flags
    if raster_at <= now:
        vic_flags = vic_flags | RASTER_IRQ
        vic_line(raster_at)
        plan_raster(now + 1)


def vic_read(register, now):
    register = register & 0x3F
    m = mem[VIC + register]
    match register:
        case 0x11:
            return m & 0x7F | (line_at(now) & 0x100) >> 1
        case 0x12:
            return line_at(now) & 0xFF
        case 0x16:
            return m | 0xC0
        case 0x18:
            return m | 0x01
        case 0x19:
            return vic_flags | 0x70 | (0x80 if vic_flags & mem[VIC + ENABLE] & 15 else 0)
        case 0x1A:
            return m | 0xF0
        case 0x1E | 0x1F | 0x13 | 0x14:
            return 0  # no sprite ever collides, and there is no light pen
    if register >= 0x2F:
        return 0xFF
    return m | 0xF0 if register >= 0x20 else m


def vic_write(register, m, now):
    global vic_flags, raster_at, latched_frame, latched_den
    register = register & 0x3F
    match register:
        case 0x11 | 0x12:
            before = compared_line()
            latch_den(now)
            mem[VIC + register] = m
            if compared_line() != before:
                plan_raster(now + 1)
                if line_at(now + 1) == compared_line():
                    raster_at = now + 1
            if register == 0x11:
                frame_cycles = line_cycles * frame_lines
                if den() and (now + 1) % frame_cycles // line_cycles == FIRST_BAD_LINE:
                    latched_frame = (now + 1) // frame_cycles
                    latched_den = DEN
                plan_bus(now + 1)
        case 0x01 | 0x03 | 0x05 | 0x07 | 0x09 | 0x0B | 0x0D | 0x0F | 0x15 | 0x17:
            sprites_until(now)
            if register == SPRITES_EXPANDED:
                expand_sprites(m, now)
            mem[VIC + register] = m
            plan_bus(now + 1)
        case 0x19:
            vic_flags = vic_flags & ~m & 15
            vic_line(now)
        case _:
            mem[VIC + register] = m
            if register == ENABLE:
                vic_line(now)

"""The VIC-II's sprites as far as the CPU feels them: the cycles that fetching them takes.

A sprite is fetched from the line that its Y names, in 21 lines, or 42 if it is expanded: BA is low
for five cycles, from 2 * n cycles after the first of the 16 that the line spends on sprites.

    x, PAL    54   55   56   57   58   59   60   61   62    0    1 ...     (NTSC: all a cycle later)
    sprite 0  BA   BA   BA   ptr, three bytes
    sprite 1            BA   BA   BA   ptr, three bytes
    checks    Y    Y, expansion   counters                                  x = 15: the row counted

`sprite_dma` has a bit for each sprite that is being fetched; `sprites` has each one's counter
(MC), and where the row began (MCBASE): 63 ends it. `rows_end` has a bit for each sprite whose
row ends with this line: an expanded one's does in every second.

Source: C. Bauer, "The MOS 6567/6569 video controller (VIC-II) and its application in the
Commodore 64" (1996), section 3.8; VICE's x64sc, measured, for NTSC and for the expansion bit
that is cleared in cycle 15.
"""

# The names that are not defined here are those of the whole machine: see clockwork.py.
# ruff: noqa: F821
# mypy: ignore-errors

from anachron.emulators.jit import subroutine

FIELDS = "sprite_dma rows_end sprite_x checked".split()

SPRITES_ON, SPRITES_EXPANDED = 0x15, 0x17
MC, MCBASE = 0, 8  # sprites: eight counters each
ROW_X, CRUNCH_X, EXPANSION_X = 15, 14, 55
FETCHED_CYCLES = 5
LAST_MC = 63


def sprites_in(line):
    """The sprites whose Y is a line's, of those that are switched on."""
    m = 0
    for i in range(8):
        if mem[VIC + 2 * i + 1] == line & 0xFF:
            m = m | 1 << i
    return m & mem[VIC + SPRITES_ON]


def begin_sprites(line):
    """Compare Y: a sprite that is not being fetched begins with its first row."""
    global sprite_dma, rows_end
    fresh = sprites_in(line) & ~sprite_dma
    sprite_dma = sprite_dma | fresh
    rows_end = rows_end | fresh
    for i in range(8):
        if fresh >> i & 1:
            sprites[MCBASE + i] = 0


def end_rows():
    """Rows that have been shown whole are counted, and the last one ends its sprite."""
    global sprite_dma
    for i in range(8):
        if rows_end >> i & 1:
            sprites[MCBASE + i] = sprites[MC + i]
            if sprites[MC + i] == LAST_MC:
                sprite_dma = sprite_dma & ~(1 << i)


def fetch_sprites():
    for i in range(8):
        sprites[MC + i] = sprites[MCBASE + i] + (3 if sprite_dma >> i & 1 else 0) & 63


def check_sprites(column, line):
    """What happens to the sprites in one cycle of a line."""
    global rows_end
    if column == ROW_X:
        end_rows()
    if column == sprite_x or column == sprite_x + 1:
        begin_sprites(line)
    if column == EXPANSION_X:
        rows_end = rows_end ^ sprite_dma & mem[VIC + SPRITES_EXPANDED]
    if column == sprite_x + 3:
        fetch_sprites()


def until_next_check(column):
    """How many cycles of a line may be skipped from one on."""
    if column <= ROW_X:
        return ROW_X - column
    if column <= sprite_x + 3:
        return sprite_x - column if column < sprite_x else 0
    return line_cycles + ROW_X - column


@subroutine
def sprites_until(now):
    """Let the sprites come to a moment, its own checks included."""
    global checked
    if mem[VIC + SPRITES_ON] | sprite_dma == 0:
        checked = now
    while checked < now:
        checked += 1
        checked = min_of(checked + until_next_check(checked % line_cycles), now)
        check_sprites(checked % line_cycles, checked // line_cycles % frame_lines)


def expand_sprites(m, now):
    """A store to $D017: sprites no longer expanded end their row with this line.

    In cycle 15 that meets the counting of the row, and both counters mix.
    """
    global rows_end
    for i in range(8):
        if (m | rows_end) >> i & 1 == 0 and now % line_cycles == CRUNCH_X:
            one = sprites[MC + i]
            other = sprites[MCBASE + i]
            sprites[MC + i] = one & other & 0x2A | (one | other) & 0x15
    rows_end = rows_end | ~m & 0xFF


@subroutine
def plan_sprites(now):
    """The next stretch, from now on, in which BA is low for sprites; its end is `ba_until`.

    With nothing but a check of Y ahead, an empty stretch there: it is planned again then.
    """
    global ba_from, ba_until
    ba_from = ba_until = NEVER
    sprites_until(now - 1)
    if mem[VIC + SPRITES_ON] | sprite_dma == 0:
        return
    begin = now - (now - sprite_x) % line_cycles
    low = sprite_dma
    if now <= begin + 1:
        low = low | sprites_in(begin // line_cycles % frame_lines)
    for i in range(8):
        first = begin + 2 * i
        if low >> i & 1 and first + FETCHED_CYCLES > now and first <= ba_until:
            if ba_from == NEVER:
                ba_from = first if first > now else now
            ba_until = first + FETCHED_CYCLES
    if ba_from == NEVER:
        ba_from = ba_until = begin + line_cycles

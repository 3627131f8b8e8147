"""The 60 Hz interrupt's share that is not in the stand-in ROM: cursor, keyboard; and the clock.

Source: Mapping the Commodore 64 (S. Leemon, 1984), $028A-$028E and SCNKEY at $EA87.
"""

from anachron.emulators.mos6502 import keyboard
from anachron.emulators.mos6502.kernal import editor as ed
from anachron.emulators.mos6502.kernal import rom
from anachron.emulators.mos6502.kernal.state import JIFFIES, Kernal

LAST_KEY, THIS_KEY, QUEUE_LIMIT = 0xC5, 0xCB, 0x0289
SHIFTS, LAST_SHIFTS, REPEATS, REPEAT_COUNT, REPEAT_DELAY = 0x028D, 0x028E, 0x028A, 0x028B, 0x028C
REPEATING = (0x14, 0x20, 0x1D, 0x11)  # delete, space and the cursor keys repeat by themselves
FIRST_REPEAT, NEXT_REPEAT = 16, 4  # jiffies


def interrupt(k: Kernal) -> None:
    """What the interrupt does when a cursor blinks or a key is down; the clock is done."""
    k.editor.blink()
    scnkey(k)
    k.set(pc=rom.IRQ_EXIT)


def scnkey(k: Kernal) -> None:
    """Look at the switches; a new key, or one that repeats, goes into the queue."""
    keys = k.keys.pressed()
    shifts = keyboard.modifiers_of(keys)
    plain = [key for key in keys if key not in keyboard.MODIFIERS]
    key = plain[-1] if plain else keyboard.NO_KEY
    both = keyboard.SHIFT | keyboard.COMMODORE
    if shifts == both and k.ram[LAST_SHIFTS] != both and not k.ram[ed.SHIFT_LOCKED]:
        small = k.machine.peek(ed.MEMORY_POINTERS) & 2
        k.editor.set_character_set(not small)
    k.ram[SHIFTS] = k.ram[LAST_SHIFTS] = shifts
    k.ram[THIS_KEY] = key
    new = key != k.ram[LAST_KEY]
    k.ram[LAST_KEY] = key
    code = keyboard.key_code(key, shifts)
    if new:
        k.ram[REPEAT_DELAY], k.ram[REPEAT_COUNT] = FIRST_REPEAT, NEXT_REPEAT
    if code != keyboard.NONE and (new or repeats(k, keyboard.PLAIN[key])):
        n_keys = k.ram[keyboard.QUEUE_LENGTH]
        if n_keys < min(k.ram[QUEUE_LIMIT], keyboard.QUEUE_LIMIT):
            k.ram[keyboard.QUEUE + n_keys] = code
            k.ram[keyboard.QUEUE_LENGTH] = n_keys + 1
    k.machine.poke(0xDC00, 0x7F)


def repeats(k: Kernal, code: int) -> bool:
    """Count a held key's jiffies: whether it is time to repeat it."""
    mode = k.ram[REPEATS]
    if mode & 0x40 or (not mode & 0x80 and code not in REPEATING):
        return False
    if k.ram[REPEAT_DELAY]:
        k.ram[REPEAT_DELAY] -= 1
        if k.ram[REPEAT_DELAY]:
            return False
    k.ram[REPEAT_COUNT] = (k.ram[REPEAT_COUNT] - 1) % 256
    if k.ram[REPEAT_COUNT]:
        return False
    k.ram[REPEAT_COUNT] = NEXT_REPEAT
    return k.ram[keyboard.QUEUE_LENGTH] == 0


def rdtim(k: Kernal) -> None:
    """The clock into Y, X, A, high to low."""
    k.set(y=k.ram[JIFFIES], x=k.ram[JIFFIES + 1], a=k.ram[JIFFIES + 2])


def settim(k: Kernal) -> None:
    """Y, X, A into the clock."""
    k.ram[JIFFIES:JIFFIES + 3] = bytes([k.get("y"), k.get("x"), k.get("a")])

"""The program around a model on a C64: its screen and keyboard, and the loop that answers.

While it computes, all of the 64 KB is RAM, interrupts are off, and the screen is blank so that the
VIC-II steals no cycles; to read and to print, the KERNAL and the I/O chips are there.  After every
token the screen is shown for `show_frames` frames.
Source: Commodore 64 Programmer's Reference Guide (1982), ch. 5, the KERNAL's jump table and the
processor port's bits; app. G, the VIC-II's registers; app. O, the SID's.  Mapping the Commodore 64
(S. Leemon, 1984), $0318.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.instructions import lines, set_word

PORT = 0x01
# Of the processor port; $36: BASIC's ROM is out; $35: only the I/O chips are there.
KERNAL_IN, ALL_RAM, ONLY_IO = 0x36, 0x34, 0x35
CHROUT, GETIN = 0xFFD2, 0xFFE4
CONTROL, RASTER, BORDER = 0xD011, 0xD012, 0xD020
VOICE, VOLUME = 0xD400, 0xD418  # the SID's first voice: frequency, width, control, envelope
DECAY, LOWEST_NOTE = 0x06, 0x10  # no attack, a fifth of a second; the frequency's high byte
KERNAL_PAGE = 0x90  # the zero page is the KERNAL's from here on
QUOTE_MODE = 0xD4  # the KERNAL's: 0, or control codes show as signs
LAST_LINE = 251  # the first raster line below the text: from here a blank takes hold with the frame
NMI_VECTOR = 0xFFFA
KERNAL_NMI = 0x0318  # where the KERNAL goes on with an NMI, nothing saved yet
RETURN, DELETE, LEFT, REVERSE, REVERSE_OFF = 0x0D, 0x14, 0x9D, 0x12, 0x92
CLEAR, SMALL_LETTERS, NO_SWITCH = 0x93, 0x0E, 0x08


@dataclass(frozen=True)
class Talk:
    """What the loop must know of a model."""

    seq_len: int
    stop: tuple[int, ...]
    room: int  # ids of text that fit the context
    encoder: bool
    samples: bool  # the sampler is in the image
    token_bytes: int
    line_size: int
    screen: bool  # stays on while computing
    feedback: tuple[str, ...]  # "border": a colour a pass; "sound": a note a token
    chooses: bool  # a pass leaves the likeliest token; none is drawn
    expanded: bool = False  # the expansion is needed while computing
    keep: int = 0  # where in it the KERNAL's zero page lies meanwhile
    attach: str = ""  # text that gets a cartridge ready to be seen while computing,
    talk: str = ""  # and that shows what is read while the KERNAL is there; the I/O chips are
    measured: bool = False  # pieces have lengths, not addresses

    @property
    def long(self) -> bool:
        """Positions need two bytes."""
        return self.seq_len > 256


def enter() -> str:
    """`start`: no interrupts, the KERNAL in sight, and the RESTORE key to `ignore`."""
    return f"""\
start:
    sei
    cld
    ldx #$ff
    txs
    lda #${KERNAL_IN:02x}
    sta ${PORT:02x}
    lda #<ignore        ; the RESTORE key: there is no BASIC to go back to
    sta ${NMI_VECTOR:04x}
    sta ${KERNAL_NMI:04x}
    lda #>ignore
    sta ${NMI_VECTOR:04x}+1
    sta ${KERNAL_NMI:04x}+1"""


def start(fills: Iterable[str] = ("fill_products",), expanded: bool = False) -> str:
    """Where the image is entered, and what comes once: routines that fill tables, among it.

    expanded  see first that the expansion is there, with the model's contents; else say so, and
              look again when a key is pressed
    """
    calls = "\n".join(f"    jsr {label}" for label in fills)
    if expanded:
        calls = f"""\
    jsr check_contents
    beq _expanded
    jsr end_compute
{set_word("pointer", "no_expansion")}
    jsr print
_key:
    jsr ${GETIN:04x}
    cmp #0
    beq _key
    jmp start
_expanded:
{calls}"""
    return f"""\
{enter()}
    lda ${BORDER:04x}
    sta border
    jsr begin_compute
{calls}
    jsr end_compute
{set_word("pointer", "title")}
    jsr print
converse:
{set_word("pointer", "prompt")}
    jsr print
ready:
    jsr read_line
    jsr encode
    lda n_prompt
    beq converse"""


def answer_next(talk: Talk) -> str:
    """A decoder: the prompt position by position, then token after token."""
    wide = talk.token_bytes == 2
    stops = []
    for token in talk.stop:
        high = f"    lda next_token+1\n    cmp #>{token}\n    bne *+5\n" if wide else ""
        stops.append(
            f"    lda next_token\n    cmp #<{token}\n    bne *+{5 + 7 * wide}\n{high}"
            "    jmp answer_end"
        )
    return lines(
        f"    lda text_count\n    cmp #{talk.room + 1}\n    bcc _fits",
        set_word("pointer", "cut_note"),
        "    jsr print\n_fits:\n    lda #0\n    sta position\n    sta n_generated\n"
        "    sta n_generated+1\n    sta wants_logits",
        "    sta position+1" if wide else "",
        "    lda max_new\n    ora max_new+1\n    bne *+5\n    jmp answer_end",
        set_word("prompt_at", "prompt_ids"),
        f"""\
prompt_next:
{_take("token", talk)}
    ldx position
    inx
    cpx n_prompt
    bne _more
    inc wants_logits
_more:
    jsr compute
{_advance(talk)}
    lda position
    cmp n_prompt
    bne prompt_next
answer_next:
    jsr choose
token_chosen:""",
        *stops,
        f"""\
    jsr print_piece
{_note(talk)}
    inc n_generated
    bne *+5
    inc n_generated+1
    lda n_generated+1
    cmp max_new+1
    bne _not_yet
    lda n_generated
    cmp max_new
    beq answer_end
_not_yet:
    lda position
    cmp #<{talk.seq_len - 1}
    bne _room""",
        f"    lda position+1\n    cmp #>{talk.seq_len - 1}\n    bne _room" if talk.long else "",
        "    jmp answer_end\n_room:\n    lda next_token\n    sta token",
        "    lda next_token+1\n    sta token+1" if wide else "",
        f"""\
    jsr show
    jsr compute
{_advance(talk)}
    jmp answer_next
answer_end:
    lda #{RETURN}
    jsr put
answer_done:
    jmp converse
choose:""",
        "" if talk.chooses else "    jsr begin_compute\n    jsr argmax",
        "    lda inverse_temperature\n    ora inverse_temperature+1\n    beq _greedy"
        if talk.samples
        else "",
        "    jsr sample\n_greedy:" if talk.samples else "",
        "    jmp end_compute",
        "prompt_at:\n    .word 0",
    )


def _note(talk: Talk) -> str:
    return "    jsr play" if "sound" in talk.feedback else ""


def _advance(talk: Talk) -> str:
    """The next position."""
    return "    inc position" + ("\n    bne *+5\n    inc position+1" if talk.long else "")


def _take(target: str, talk: Talk) -> str:
    """The next of the tokens at prompt_at."""
    text = f"""\
    lda prompt_at
    sta pointer
    clc
    adc #{talk.token_bytes}
    sta prompt_at
    lda prompt_at+1
    sta pointer+1
    adc #0
    sta prompt_at+1
    ldy #0
    lda (pointer),y
    sta {target}"""
    high = f"    iny\n    lda (pointer),y\n    sta {target}+1" if talk.token_bytes == 2 else ""
    return lines(text, high)


def answer_sequence(talk: Talk) -> str:
    """An encoder: the whole line at once; the answers of all positions are in answer_ids."""
    return lines(
        f"    lda text_count\n    cmp #{talk.seq_len}\n    beq _whole",
        set_word("pointer", "length_note"),
        "    jsr print\n    jmp converse\n_whole:\n    jsr compute",
        set_word("prompt_at", "answer_ids"),
        f"""\
    lda #{talk.seq_len}
    sta n_generated
answer_next:
{_take("next_token", talk)}
token_chosen:
    jsr print_piece
{_note(talk)}
    dec n_generated
    bne answer_next
    lda #{RETURN}
    jsr put
answer_done:
    jmp converse
prompt_at:
    .word 0""",
    )


def compute(talk: Talk) -> str:
    """A forward pass with the machine to itself."""
    port = ONLY_IO if talk.expanded else ALL_RAM
    save = restore = ""
    if talk.keep:
        save, restore = (
            lines(
                expansion.point(talk.keep),
                expansion.move(command, f"${KERNAL_PAGE:02x}", 256 - KERNAL_PAGE),
            )
            for command in (expansion.STASH, expansion.FETCH)
        )
    blank = f"""\
    lda #{LAST_LINE}
_wait:
    cmp ${RASTER:04x}
    bne _wait
    lda ${CONTROL:04x}
    and #$6f            ; the screen off; bit 7 belongs to the raster's interrupt
    sta ${CONTROL:04x}"""
    show = f"""\
; show: the screen on again; waits show_frames frames, and on until the blank takes hold; uses A, X
show:
    ldx show_frames
    beq _shown
    lda ${CONTROL:04x}
    and #$7f
    ora #$10
    sta ${CONTROL:04x}
_frame:
    lda #{LAST_LINE}
_in_frame:
    cmp ${RASTER:04x}
    bne _in_frame
_same_line:
    cmp ${RASTER:04x}
    beq _same_line
    dex
    bne _frame
_shown:
    rts"""
    return lines(
        "; compute: forward, with all memory RAM and the screen blank",
        "compute:",
        "" if talk.screen else blank,
        f"    inc ${BORDER:04x}" if "border" in talk.feedback else "",
        "    jsr begin_compute\n    jsr forward\n    jmp end_compute",
        "begin_compute:\n    sei",
        f"    lda #${ONLY_IO:02x}\n    sta ${PORT:02x}\n{talk.attach}" if talk.attach else "",
        f"    lda #${port:02x}\n    sta ${PORT:02x}",
        save,
        "    rts\nend_compute:",
        restore,
        f"    lda #${KERNAL_IN:02x}\n    sta ${PORT:02x}",
        talk.talk,
        "    cli\n    rts",
        "ignore:\n    rti",
        "show:\n    rts" if talk.screen else show,
        play() if "sound" in talk.feedback else "",
    )


def play() -> str:
    """A short note for a token, the higher the larger its id.

    The envelope decays to silence by itself, so nothing has to turn the note off.
    """
    return f"""\
; play: a note for next_token on the SID's first voice; uses A
play:
    lda #0
    sta ${VOICE + 4:04x}           ; the gate shut, so that it can open again
    sta ${VOICE + 6:04x}           ; sustain 0
    lda #${DECAY:02x}
    sta ${VOICE + 5:04x}
    lda next_token
    and #$3f
    clc
    adc #${LOWEST_NOTE:02x}
    sta ${VOICE + 1:04x}
    lda #$0f
    sta ${VOLUME:04x}
    lda #$11            ; a triangle, the gate open
    sta ${VOICE + 4:04x}
    rts"""

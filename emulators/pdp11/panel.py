"""A PDP-11's state -> its front panel, as lines for a terminal.

The 11/20 has lamps: ADDRESS (18), DATA (16), RUN, BUS, FETCH, EXEC, SOURCE, DESTINATION and
ADDRESS; the 11/34A's KY11-LB has six octal digits and a few lamps. Drawn is what an emulator of
whole instructions knows: RUN, the program counter as the address, R0 as the data (which is what
the lamps show after WAIT and HALT); the lamps of a bus cycle are not drawn lit.

Sources: DEC, PDP-11/20 system manual (1971), the console; EK-KY11LB-MM-001, KY11-LB programmer's
console (1976).
"""

from collections.abc import Mapping

LIT, DARK = "●", "○"
RED, GREY, PLAIN = "\x1b[38;2;255;80;40m", "\x1b[38;2;90;50;40m", "\x1b[0m"
ADDRESS_LAMPS, DATA_LAMPS = 18, 16
LINE_WIDTH, PAPER_LINES = 72, 24


def lamps(value: int, count: int, colours: bool = True) -> str:
    """A row of lamps, in groups of three as an octal digit has bits.

    >>> lamps(0o123, 7, colours=False)
    '● ○●○ ○●●'
    """
    bits = f"{value & (1 << count) - 1:0{count}b}"
    first = count % 3
    groups = [bits[:first]] if first else []
    groups += [bits[at:at + 3] for at in range(first, count, 3)]
    row = " ".join(groups).replace("1", LIT).replace("0", DARK)
    if not colours:
        return row
    return (row.replace(LIT, f"{RED}{LIT}").replace(DARK, f"{GREY}{DARK}")) + PLAIN


def draw_lamps(registers: Mapping[str, int], running: bool, colours: bool = True) -> list[str]:
    """The 11/20's panel."""
    run = lamps(int(running), 1, colours)
    return [
        "  digital  pdp11/20",
        "",
        f"   ADDRESS  {lamps(registers['pc'], ADDRESS_LAMPS, colours)}     RUN {run}",
        f"   DATA     {' ' * 3}{lamps(registers['r0'], DATA_LAMPS, colours)}",
        "",
    ]


def draw_digits(registers: Mapping[str, int], running: bool, colours: bool = True) -> list[str]:
    """The 11/34A's panel; its digits show R0 when halted, and here the address while it runs."""
    run = lamps(int(running), 1, colours)
    digits = f"{registers['r0']:06o}" if not running else f"{registers['pc']:06o}"
    shown = f"{RED}{digits}{PLAIN}" if colours else digits
    return [
        "  digital  pdp11/34A",
        "",
        f"   {shown}    RUN {run}   SR DISP {lamps(0, 1, colours)}   BUS ERR {lamps(0, 1, colours)}"
        f"   DC ON {lamps(1, 1, colours)}",
        "",
    ]


PANELS = {"pdp11/20": draw_lamps, "pdp11/34a": draw_digits}


def draw(name: str, registers: Mapping[str, int], running: bool, paper: str, height: int,
         colours: bool = True) -> list[str]:
    """A machine's panel, and under it the last lines of its teletype's paper.

    name      of the machine, as in PANELS; another has the 11/20's lamps
    paper     all that the console has printed
    height    how many lines it all may be
    """
    panel = PANELS.get(name, draw_lamps)(registers, running, colours)
    room = min(height - len(panel) - 1, PAPER_LINES)
    printed = type_out(paper)[-room:] if room > 0 else []
    return [*panel, "   " + "_" * LINE_WIDTH, *(f"   {line}" for line in printed)]


def type_out(paper: str) -> list[str]:
    """Lines as a teletype leaves them: a carriage return prints over, other controls do nothing.

    >>> type_out("AB\\rC\\nD\\x07")
    ['CB', 'D']
    """
    lines = []
    for text in paper.split("\n"):
        line: list[str] = []
        column = 0
        for character in text:
            if character == "\r":
                column = 0
            elif character == "\b":
                column = max(column - 1, 0)
            elif character >= " ":
                line[column:column + 1] = character
                column += 1
        lines.append("".join(line))
    return lines

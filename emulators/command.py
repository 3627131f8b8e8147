"""`anachron emulate IMAGE --on MACHINE`: a page over the machines' API.

What comes in: the words of the command line. What goes out: what the machine printed, tables, or
one JSON object, and the exit status: 0 where the machine ran, 1 where it jammed or lacked a ROM,
2 for a mistake on the command line or in a file, said in one line.
To add an option: a line in `parser`, and its use in `emulate`.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anachron.emulators import create
from anachron.emulators import session as sessions
from anachron.emulators.containers import FORMATS
from anachron.emulators.containers.files import write_file
from anachron.emulators.session import Session
from anachron.emulators.terminal import Terminal, parse_speed, play

DEFAULT_MACHINES = {".lda": "pdp11/34a", ".crt": "c64+crt"}
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "e": "\x1b", "\\": "\\"}


class Parser(argparse.ArgumentParser):
    """argparse with errors in one line."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = Parser(
        prog="anachron emulate", description="Run any image on an emulated machine.",
        epilog=f"IMAGE is a {' '.join(FORMATS)} file. A C64 program that needs BASIC or another "
               "part of Commodore's ROMs needs --roms.")
    p.add_argument("image", type=Path, help="the file to run")
    p.add_argument("--on", metavar="MACHINE", help="c64, c64+reu, c64+crt, pdp11/20, pdp11/34a")
    p.add_argument("--max-cycles", type=_count, metavar="N",
                   help="stop after N cycles (C64) or N instructions (PDP-11)")
    p.add_argument("--type", metavar="TEXT", dest="typed",
                   help=r"type this; \n is RETURN, \\ a backslash")
    p.add_argument("--until", metavar="WHERE", help="stop before this address or label")
    p.add_argument("--screen", action="store_true", help="print the screen or the console's text")
    p.add_argument("--profile", action="store_true", help="time by label, most first")
    p.add_argument("--trace", metavar="FROM:TO",
                   help="print the instructions from address or label FROM until TO is reached")
    p.add_argument("--live", nargs="?", const="1", metavar="SPEED",
                   help="show the machine as it runs: at real speed, xN, or max")
    p.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    c64 = p.add_argument_group("Commodore 64")
    c64.add_argument("--reu", type=Path, metavar="FILE", help="a .reu image in the expansion")
    c64.add_argument("--roms", type=Path, metavar="FOLDER",
                     help="your own kernal, basic and chargen files")
    c64.add_argument("--ntsc", action="store_true", help="an American machine: 60 frames a second")
    c64.add_argument("--png", type=Path, metavar="FILE", help="write a picture of the screen")
    c64.add_argument("--wav", type=Path, metavar="FILE", help="write what the SID played")
    pdp = p.add_argument_group("PDP-11")
    pdp.add_argument("--model", metavar="ROW", dest="timing", help="timing: ll-34 or dec")
    pdp.add_argument("--tape", type=Path, metavar="FILE", help="paper tape in the reader")
    pdp.add_argument("--panel", action="store_true", help="the front panel, live")
    pdp.add_argument("--baud", type=_count, metavar="N", help="the console's speed, as in 110")
    return p


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    try:
        return emulate(parser().parse_args(argv))
    except ValueError as error:
        print(f"anachron emulate: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def emulate(options: argparse.Namespace) -> int:
    """Create the machine, run the image as told, and print what was asked for."""
    name = options.on or DEFAULT_MACHINES.get(options.image.suffix.lower(), _c64(options))
    family = sessions.family(name)
    family.check(options)
    machine = create(name, **family.settings(options))
    session: Session = family(machine, options)
    session.load(options.image)
    if options.typed:
        machine.type(unescape(options.typed))
    if options.trace:
        reason = session.trace(*_range(options.trace), sys.stderr if options.json else sys.stdout)
    elif options.live or options.panel:
        with Terminal() as terminal:
            reason = play(session.view(), terminal, parse_speed(options.live or "1"))
    else:
        reason = session.run(sys.stdout if not (options.json or options.screen) else None)
    if options.png:
        write_file(options.png, session.screenshot())
    if options.wav:
        write_file(options.wav, session.wav())
    if options.json:
        print(json.dumps(report(name, options, session, reason)))
    else:
        tell(options, session, reason)
    return 1 if session.failed(reason) else 0


def _c64(options: argparse.Namespace) -> str:
    return "c64+reu" if options.reu else "c64"


def tell(options: argparse.Namespace, session: Session, reason: str) -> None:
    """The end of a run, for a person."""
    if options.screen or options.live or options.panel:
        print(session.text())
    machine = session.machine
    print(f"{reason}; {session.count():,} {session.unit}, {machine.time_ns / 1e9:.6f} s of the "
          "machine", file=sys.stderr)
    if options.profile:
        shares = session.profile()
        total = sum(shares.values()) or 1
        for label, amount in shares.items():
            print(f"{amount:>16,} {100 * amount / total:6.2f} %  {label}")


def report(name: str, options: argparse.Namespace, session: Session,
           reason: str) -> dict[str, Any]:
    """The end of a run, for a program."""
    return {
        "machine": name, "image": str(options.image), "stopped": reason,
        "status": "failed" if session.failed(reason) else "ok",
        session.unit: session.count(), "time_ns": session.machine.time_ns,
        "registers": {key: int(value) for key, value in session.machine.registers.items()},
        session.text_key: session.text(),
        **({"profile": session.profile()} if options.profile else {}),
    }


def unescape(text: str) -> str:
    r"""A typed text with its \n, \r, \t, \e and \\ replaced.

    >>> unescape("HEY\\n")
    'HEY\n'
    """
    parts = text.split("\\\\")
    for letter, character in ESCAPES.items():
        if letter != "\\":
            parts = [part.replace("\\" + letter, character) for part in parts]
    return "\\".join(parts)


def _count(text: str) -> int:
    """A positive number, underscores and 1e6 allowed."""
    try:
        value = int(float(text)) if "e" in text.lower() else int(text)
    except (ValueError, OverflowError):
        value = 0
    if not 1 <= value < 1 << 62:
        raise argparse.ArgumentTypeError(f"'{text}': a number of 1 or more is needed")
    return value


def _range(text: str) -> tuple[str, str]:
    first, colon, last = text.partition(":")
    if not (first and colon and last):
        raise ValueError(f"--trace {text}: FROM:TO, two addresses or labels, is needed")
    return first, last

"""Labels -> text files and back: `.lbl` for VICE's monitor, `.sym` for a person at SIMH.

VICE reads `al C:c000 .name` (monitor command `load_labels`). SIMH 3 knows no symbols, so `.sym`
is a list that `do` accepts: one comment a label, in octal, in the order of the addresses.
"""

import re
from collections.abc import Mapping

SIZE_LIMIT = 1 << 22
_VICE_LINE = re.compile(r"(?:al|add_label)\s+(?:[Cc]:)?\$?([0-9a-fA-F]{1,4})\s+\.?(\S+)")
_SIMH_LINE = re.compile(r";\s*([0-7]{1,6})\s+(\S+)")


def format_vice(labels: Mapping[str, int]) -> str:
    """The text of a `.lbl`, by address, then by name.

    >>> format_vice({"forward": 0xC000})
    'al C:c000 .forward\\n'
    """
    return "".join(f"al C:{address:04x} .{name}\n" for name, address in _sorted(labels))


def format_simh(labels: Mapping[str, int]) -> str:
    """The text of a `.sym`, by address, then by name.

    >>> format_simh({"START": 0o1000})
    '; 001000 START\\n'
    """
    return "".join(f"; {address:06o} {name}\n" for name, address in _sorted(labels))


def _sorted(labels: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(labels.items(), key=lambda item: (item[1], item[0]))


def parse(text: str, where: str = "labels") -> dict[str, int]:
    """Name -> address from either format; ValueError, with the line, for anything else."""
    labels: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if vice := _VICE_LINE.fullmatch(line):
            labels[vice[2]] = int(vice[1], 16)
        elif simh := _SIMH_LINE.fullmatch(line):
            labels[simh[2]] = int(simh[1], 8)
        elif line and not line.startswith((";", "#")):
            raise ValueError(f"{where}:{number}: {line[:40]!r}: "
                             "'al C:c000 .name' or '; 001000 NAME' expected")
    return labels

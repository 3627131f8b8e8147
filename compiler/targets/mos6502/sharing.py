"""Texts of ops that differ in labels only -> one routine, and calls that patch its operands.

Arguments are labels that begin with `arg_`; every instruction that names one gets a label of its
own, and each call stores the addresses it means there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import lines

NAME = "shared_routine"  # what a text calls itself before its routine has a name
_LABEL = re.compile(r"^(\w+):")
_LOCAL = re.compile(r"(?<![\w$])(_[a-z]\w*)")
_ARGUMENT = re.compile(r"\barg_\w+")
CROSSING = 0.2  # of an indexed read of an argument


@dataclass(frozen=True)
class Shared:
    """text: the routine; sites: (label, the operand it has, "" or "<" or ">") of each patch."""

    name: str
    text: str
    sites: tuple[tuple[str, str, str], ...]

    def call(self, name: str, arguments: Mapping[str, str]) -> str:
        """The op `name`: a tail call with its labels."""
        text = [f"{name}:"]
        loaded: dict[str, list[str]] = {}
        for label, operand, half in self.sites:
            meant = _ARGUMENT.sub(lambda match: arguments[match[0]], operand)
            for at, part in (((1, half),) if half else ((1, "<"), (2, ">"))):
                loaded.setdefault(f"#{part}({meant})", []).append(f"    sta {label}+{at}")
        for value, stores in loaded.items():
            text += [f"    lda {value}", *stores]
        return lines(*text, f"    jmp {self.name}")


def share(text: str, name: str) -> Shared:
    """The routine of a text that calls itself NAME."""
    scope, found = 0, []
    sites: list[tuple[str, str, str]] = []
    for line in text.split("\n"):
        code, mark, comment = line.partition(";")
        label = _LABEL.match(code)
        if label and not label[1].startswith("_"):
            scope += 1
        code = _LOCAL.sub(rf"{NAME}_{scope}\1", code)
        if _ARGUMENT.search(code):
            where = f"{NAME}_{len(sites)}_at"
            found.append(f"{where}:")
            word, operand = code.split(None, 1)
            operand = operand.strip()
            if operand.startswith(("#<", "#>")):
                sites.append((where, operand[2:].strip("()"), operand[1]))
                code = f"    {word} #0"
            else:
                operand, comma, index = operand.partition(",")
                sites.append((where, operand, ""))
                code = f"    {word} $ffff{comma}{index}"
                if comma and "@" not in comment and word in ("lda", "ldy", "adc", "sbc", "cmp"):
                    mark, comment = ";", f"@ p={CROSSING}"
        found.append(f"{code}{mark and '  '}{mark}{comment}")
    named = [(label.replace(NAME, name), operand, half) for label, operand, half in sites]
    return Shared(name, "\n".join(found).replace(NAME, name), tuple(named))

"""DEBUG, a ladder: each rung prints more about what the compiler did, to standard error.

DEBUG=1 kernels and predicted cycles; 2 the memory map; 3 the integer graph with formats and
ranges; 4 the calls; 5 the listing with cycles a line.  (6, a trace of instructions, is
`anachron emulate --trace`.)
"""

from __future__ import annotations

import os

from rich.console import Console

from anachron.compiler import report
from anachron.compiler.image import Image
from anachron.compiler.run import predict


def debug_level() -> int:
    """The rung asked for; raises ValueError unless it is a number."""
    text = os.environ.get("DEBUG", "0") or "0"
    if not text.isdigit():
        raise ValueError(f"DEBUG={text}: a number from 0 to 5 is needed")
    return int(text)


def show_debug(image: Image) -> None:
    """Print what DEBUG asks for."""
    level = debug_level()
    console = Console(stderr=True)
    if level >= 1:
        console.print(report.cycles_table(image, predict(image, 1, 1), None))
    if level >= 2:
        console.print(report.map_table(image))
    if level >= 3:
        console.print(report.fit(report.fixed_table(image.fixed), console.width))
    if level >= 4:
        console.print(report.calls_table(image, aside=False))
    if level >= 5:
        console.print(image.program.listing(), markup=False, highlight=False)

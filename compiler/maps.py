"""Image -> its memory map: objects by address and by size, the zero page, and what is free."""

from __future__ import annotations

from collections.abc import Iterable

from anachron.compiler.image import Loadable
from anachron.compiler.memory import Placed, find_free
from anachron.compiler.report import count, map_table, plain

ZERO_PAGE = "zero page"


def format_map(image: Loadable) -> str:
    """The text of a .map file."""
    objects = [o for o in image.objects if o.kind != ZERO_PAGE and o.size]
    zero_page = [o for o in image.objects if o.kind == ZERO_PAGE]
    gaps = find_free(objects, image.regions)
    free = [Placed("", start, end - start, "free") for start, end in gaps]
    unused = sum(o.size for o in free)
    parts = [
        f"{image!r}",
        _part("by address", image, sorted(objects, key=lambda o: (o.address, o.size))),
        _part("by size", image, sorted(objects, key=lambda o: (-o.size, o.address))),
        _part("zero page", image, zero_page) if zero_page else "",
        _part(f"free: {count(unused)} bytes", image, free),
        _part(f"in the {image.outside}", image, image.expansion) if image.expansion else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _part(title: str, image: Loadable, objects: Iterable[Placed]) -> str:
    table = plain(map_table(image, objects)).strip("\n")
    return f"{title}\n\n{table}"

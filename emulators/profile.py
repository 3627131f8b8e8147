"""Cycles by address -> cycles by symbol: where a program's time goes."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence


def by_label(counts: Sequence[int], labels: Mapping[str, int]) -> dict[str, int]:
    """Sum the counts from each label up to the next; most first, labels without any left out.

    counts  one number an address: cycles, or nanoseconds, by the start of the instruction
    labels  name -> address; the first name, by the alphabet, stands for its address
    return  what lies before the first label is called "(before)"

    >>> by_label([1, 2, 3, 4], {"loop": 1, "end": 3})
    {'loop': 5, 'end': 4, '(before)': 1}
    """
    names = {address: name for name, address in sorted(labels.items(), reverse=True)}
    starts = sorted(names)
    sums: dict[str, int] = {}
    for address, count in enumerate(counts):
        if count:
            at = bisect_right(starts, address) - 1
            name = names[starts[at]] if at >= 0 else "(before)"
            sums[name] = sums.get(name, 0) + int(count)
    return dict(sorted(sums.items(), key=lambda item: -item[1]))

"""A model that does not fit -> what would: more memory, a larger machine, a smaller size.

Nothing is estimated: what is said to fit has been built, with the formats that it will have, in the
smallest of the ways that a build tries.  The search before that does without calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from anachron.compiler.model import Model
from anachron.compiler.syntax import either
from anachron.compiler.targets import MACHINES, DoesNotFit, Machine, find_machine

MEMORY_STEP = 1024  # memories are multiples of it
PARTS = 4  # of a size, one of which builds where any value does


class Attempt(Protocol):
    """Builds a model, rough: uncalibrated; raises ValueError where that cannot be."""

    def __call__(self, model: Model, machine: str, rough: bool, **options: Any) -> object: ...


@dataclass(frozen=True)
class Fit:
    """Words of the command line with which a model fits; retrained: its weights then do not."""

    words: str
    retrained: bool = False


def find_fits(
    model: Model,
    machine: str,
    error: DoesNotFit,
    attempt: Attempt,
    resize: Callable[[str, int], Model],
    memory_bytes: int | None = None,
) -> tuple[Fit, ...]:
    """What would fit instead of a model that does not.

    error         what was said of the model as it is
    attempt       builds a model for a machine
    resize        the model with one of its sizes changed; raises ValueError where it cannot be
    memory_bytes  the machine's memory, where it is not all that it can have
    """
    row = find_machine(machine)
    fits = [*_more_memory(model, row, error, attempt, memory_bytes)]
    larger = _larger_machine(model, row, attempt)
    if larger:
        fits.append(Fit(f"--on {larger}"))
    options = {} if memory_bytes is None else {"memory_bytes": memory_bytes}

    def builds(name: str, value: int, rough: bool = True) -> bool:
        try:
            attempt(resize(name, value), machine, rough, **options)
        except ValueError:
            return False
        return True

    names = sorted(model.dimensions, key=lambda name: name != "seq_len")
    for name in names:
        if name != "vocab_size":
            value = _largest(name, model.dimensions[name], builds, resize)
            if value:
                trained = not model.weights_from.startswith("random")
                lost = resize(name, value).weights_from.startswith("random")
                fits.append(Fit(f"--set {name}={value}", trained and lost))
    return tuple(fits)


def tell(fits: tuple[Fit, ...]) -> str:
    """Fits as the end of a sentence."""
    at_once = [fit.words for fit in fits if not fit.retrained]
    later = [fit.words for fit in fits if fit.retrained]
    if not fits:
        return "no larger machine, and no smaller size alone, makes it fit"
    told = [either(at_once)] if at_once else []
    told += [f"trained anew {either(later)}"] if later else []
    return "what fits: " + ", and ".join(told)


def _more_memory(
    model: Model, row: Machine, error: DoesNotFit, attempt: Attempt, memory_bytes: int | None
) -> Iterator[Fit]:
    most = row.memory_bytes or 0
    if memory_bytes is None or memory_bytes >= most:
        return
    needed = -(-(memory_bytes + error.bytes_over) // MEMORY_STEP) * MEMORY_STEP
    for memory in dict.fromkeys((min(needed, most), most)):
        try:
            attempt(model, row.name, False, memory_bytes=memory)
        except ValueError:
            continue
        yield Fit(f"--memory {memory}")
        return


def _larger_machine(model: Model, row: Machine, attempt: Attempt) -> str:
    """The least of the machines with more memory that takes a model, those of its kind first."""
    mine = row.memory_bytes or 0
    larger = [other for other in MACHINES.values() if (other.memory_bytes or 0) > mine]
    larger.sort(key=lambda other: (other.target != row.target, other.memory_bytes or 0))
    for other in larger:
        try:
            attempt(model, other.name, False)
        except ValueError:
            continue
        return other.name
    return ""


def _largest(
    name: str,
    now: int,
    builds: Callable[..., bool],
    resize: Callable[[str, int], Model],
) -> int:
    """The largest value of a size, below what it is now, that builds; 0 where none does."""

    def allowed(values: range) -> int:
        """The first of some values that the model's text allows, or 0."""
        for value in values:
            try:
                resize(name, value)
            except ValueError:
                continue
            return value
        return 0

    def between(best: int, beyond: int, rough: bool) -> int:
        """The largest that builds, of values from one that does to one that does not."""
        while beyond - best > 1:
            middle = (best + beyond) // 2
            value = allowed(range(middle, best, -1)) or allowed(range(middle + 1, beyond))
            if not value:
                break
            if builds(name, value, rough):
                best = value
            else:
                beyond = value
        return best

    starts = dict.fromkeys(max(1, now * part // PARTS) for part in range(PARTS))
    tried = (allowed(range(start, now)) for start in starts)
    best = next((value for value in tried if value and builds(name, value)), 0)
    best = best and between(best, now, True)
    beyond, step = now, 1
    while best and not builds(name, best, rough=False):  # the quick builds were too hopeful
        best, beyond, step = allowed(range(best - step, 0, -1)), best, 2 * step
    return best and between(best, beyond, False) if step > 1 else best

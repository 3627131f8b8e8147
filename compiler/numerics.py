"""The choices of a quantization: widths, scales, rounding, tables.

activations=8 is the fast one: see `anachron fidelity` for what it costs a model in faithfulness.

To reproduce another project's integers: a row in EXACT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from anachron.compiler.model import Model, ModelError


@dataclass(frozen=True)
class Numerics:
    """The choices of a quantization.

    activations    8 to 16: bits of values that matrices read, stored in 8 or 16; sums and logits
                   always have 16
    queries        8 to 16: the same of values that are only multiplied with each other for scores;
                   None: as activations
    weight_scales  "row" (a power of two for each row of a matrix) or "tensor"
    sums           32, or 16: weights as fine as the sums of a matrix's products allow that 16 bits
                   hold them, for inputs as long as calibration saw; None: as many as activations
                   need
    gains          "kept", or "folded" into the matrices that alone read an RMS norm; None: folded
                   where activations have fewer than 16 bits
    rounding       "nearest" (half a unit in the bias) or "floor"
    weights        "nearest" integers, or "fitted": rounded so that they make up for each other over
                   the model's own texts (rounding.py); None: fitted where activations have 8 bits
    value_frac     None: calibrate; else the fraction bits of every value of 16 bits
    pre_shift, root_shift, reciprocal_bits   of the norms; None: chosen
    score_steps, score_entries, weight_floor  attention's table: steps to a unit of the exponent,
                   entries, and the least weight of an entry that is not the last, which is 0
    score_top      the largest weight, up to 255; None: 255, or 31 where sums have 16 bits: then the
                   weights of most texts sum to less than 256
    """

    activations: int = 16
    queries: int | None = None
    weight_scales: str = "row"
    sums: int | None = None
    gains: str | None = None
    rounding: str = "nearest"
    weights: str | None = None
    value_frac: int | None = None
    pre_shift: int | None = None
    root_shift: int | None = None
    reciprocal_bits: int | None = None
    score_steps: int = 32
    score_entries: int = 256
    weight_floor: int = 0
    score_top: int | None = None


WIDTHS = range(8, 17)  # of activations
# Named sets of choices that reproduce another project's integers.
EXACT = {
    "soul": Numerics(
        weight_scales="tensor",
        rounding="floor",
        value_frac=8,
        pre_shift=4,
        root_shift=0,
        reciprocal_bits=19,
        score_steps=16,
        score_entries=128,
        weight_floor=1,
    ),
}

# What another project's choices become with fewer bits of activations: nothing is exact.
NARROWED = {"weight_scales": "row", "rounding": "nearest", "weight_floor": 0}
LARGEST_WEIGHT = {32: 255, 16: 31}  # of an attention's table, by the bits of sums


def find_numerics(model: Model, asked: Mapping[str, Any] | None = None) -> Numerics:
    """The choices for a model: its hints, overridden by what is asked.

    Raises ModelError for a word or a value that is not one of Numerics'.
    """
    hints = dict(model.numerics)
    exact = hints.pop("exact", None)
    hints.pop("frac", None)
    if exact is not None and exact not in EXACT:
        raise ModelError(f"numerics {exact} are unknown: known are {', '.join(EXACT)}")
    chosen = EXACT[exact] if exact else Numerics()
    if "activations" in (asked or {}):
        hints.pop("queries", None)  # it went with the model's own width
    hints.update(asked or {})
    if exact and hints.get("activations", 16) != 16:
        hints = NARROWED | hints
    known = [f.name for f in fields(Numerics)]
    for word in hints:
        if word not in known:
            raise ModelError(
                f"there is no fixed-point option {word}: choose from {', '.join(known)}"
            )
    chosen = replace(chosen, **hints)
    if chosen.activations not in WIDTHS:
        raise ModelError(f"activations have 8 to 16 bits, not {chosen.activations}")
    if chosen.queries is None:
        chosen = replace(chosen, queries=chosen.activations)
    if chosen.queries not in WIDTHS:
        raise ModelError(f"queries have 8 to 16 bits, not {chosen.queries}")
    if chosen.sums is None:
        chosen = replace(chosen, sums=16 if chosen.activations == 8 else 32)
    if chosen.gains is None:
        chosen = replace(chosen, gains="folded" if chosen.activations < 16 else "kept")
    if chosen.weights is None:
        chosen = replace(chosen, weights="fitted" if chosen.activations == 8 else "nearest")
    if chosen.score_top is None:
        chosen = replace(chosen, score_top=LARGEST_WEIGHT.get(chosen.sums or 32, 255))
    if not 1 <= (chosen.score_top or 0) <= 255:
        raise ModelError(f"score_top is 1 to 255, not {chosen.score_top}")
    if chosen.sums not in (16, 32):
        raise ModelError(f"sums have 16 or 32 bits, not {chosen.sums}")
    if chosen.gains not in ("kept", "folded"):
        raise ModelError(f"gains are kept or folded, not {chosen.gains}")
    if chosen.weights not in ("nearest", "fitted"):
        raise ModelError(f"weights are nearest or fitted, not {chosen.weights}")
    if chosen.weight_scales not in ("row", "tensor"):
        raise ModelError(f"weight_scales is row or tensor, not {chosen.weight_scales}")
    if chosen.rounding not in ("nearest", "floor"):
        raise ModelError(f"rounding is nearest or floor, not {chosen.rounding}")
    return chosen

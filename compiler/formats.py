"""A format for every value, and a scale for every weight: powers of two throughout.

Scales come from calibration, the largest magnitudes that the float model shows, with some room.
Values that meet in an addition, or that pass an op unscaled, share one scale; then every matrix,
norm and gate is given a result no finer than what it can compute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anachron.compiler.model import INPUTS, Model, ModelError, Node
from anachron.compiler.numerics import Numerics
from anachron.compiler.ops import forward
from anachron.compiler.scores import limit_scores
from anachron.kernels.arithmetic import Array, Fixed

# Calibrated peaks may grow by this much before they saturate, by the bits of the value: with only
# eight, resolution is worth more than room.
HEADROOM = {16: 1.5, 8: 1.0}
FINER = 2  # bits that a rotation's and a gate's values have above the 8 that matrices read
FINEST = 24  # fraction bits of a weight, at most
SUM_LIMIT = {16: 32512, 32: 1 << 31}  # of a matrix's sums: what two residues tell apart, or a word
LONGER = 1.12  # than the longest vector seen one may be before its sums leave 16 bits
NORM_SLACK = 1.17  # a norm's length exceeds its exact one by what root and reciprocal floor
BYTE_SHIFT, LEAST_ROOT = 4, 16  # a norm's pre_shift where its root is a byte, at least so much
TINY = 1e-30  # a root mean square that is none
COARSEST = -32  # fraction bits of a value, at least
FINEST_LOOKUP = 12  # the finest scale that the 257 points of a lookup can serve
MOST_RECIPROCAL_BITS = 24


@dataclass(frozen=True)
class Measured:
    """What calibration saw of each value.

    peak       the largest magnitude      least_rms  the least root mean square
    longest    the length of the longest vector
    unit_peak  of an RMS norm, the largest magnitude before its gain
    """

    peak: Mapping[str, float]
    least_rms: Mapping[str, float]
    longest: Mapping[str, float]
    unit_peak: Mapping[str, float]


def measure(model: Model, samples: Sequence[Sequence[int]]) -> Measured:
    """Run the float model over token ids and note the extremes of every value.

    Raises ModelError where a value is not finite.
    """
    peak: dict[str, float] = {}
    least: dict[str, float] = {}
    unit: dict[str, float] = {}
    longest: dict[str, float] = {}
    normed = [node for node in model.nodes if node.op == "rms_norm"]
    for tokens in samples:
        values = forward(model, tokens)
        for node in normed:
            rows = np.abs(values[node.inputs[0]])
            rms = np.sqrt((rows**2).mean(-1))
            highest = float((rows.max(-1) / np.maximum(rms, TINY)).max())
            unit[node.name] = max(unit.get(node.name, 0.0), highest)
        for name, rows in values.items():
            largest = float(np.abs(rows).max(initial=0.0))
            if not math.isfinite(largest):
                raise ModelError(f"{name}: with these weights its values overflow")
            peak[name] = max(peak.get(name, 0.0), largest)
            rms = float(np.sqrt((rows**2).mean(-1)).min())
            least[name] = min(least.get(name, math.inf), rms)
            length = float(np.sqrt((rows**2).sum(-1).max()))
            longest[name] = max(longest.get(name, 0.0), length)
    return Measured(peak, least, longest, unit)


def find_groups(model: Model) -> dict[str, str]:
    """value -> the leader of the values that must share its scale."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for node in model.nodes:
        leader[node.name] = node.name
        match node.op:
            case "add":
                same = node.inputs
            case "relu" | "rope":
                same = node.inputs[:1]
            case "attention":
                same = node.inputs[2:3]  # a mean of values has the values' scale
            case _:
                same = ()
        for name in same:
            leader[find(node.name)] = find(name)
    return {name: find(name) for name in leader}


def weight_frac(largest: float, bits: int = 8) -> int:
    """The finest scale at which a weight of this magnitude fits in so many bits.

    >>> weight_frac(0.9), weight_frac(1.0), weight_frac(0.0)
    (7, 6, 24)
    """
    top = (1 << bits - 1) - 1
    if largest < 2.0**-FINEST:
        return FINEST
    return min(math.floor(math.log2((top + 0.4999) / largest)), FINEST)


def find_size(model: Model, name: str) -> int:
    """The number of features of a value."""
    node = model[name]
    match node.op:
        case "linear":
            return model.shapes[node.parameters["weight"]][0]
        case "embed":
            return model.shapes[node.parameters["weight"]][1]
        case _:
            return find_size(model, node.inputs[0])


class Formats:
    """The formats of one model's values under one choice of numerics.

    of[name] is a value's format; fold[name] a factor by which it is larger than in the float
    model.
    """

    def __init__(
        self,
        model: Model,
        numerics: Numerics,
        measured: Measured,
    ) -> None:
        self.model, self.numerics, self.measured = model, numerics, measured
        self.exact_frac: Mapping[str, int] = model.numerics.get("frac", {})
        self.fold = self._fold_scales()
        self.gainless = self._fold_gains()
        groups = find_groups(model)
        bits = {node.name: self._choose_bits(node) for node in model.nodes}
        frac: dict[str, int] = {}
        for node in model.nodes:
            width = self._choose_width(node)
            mine = numerics.value_frac if width == 16 else None
            if mine is None:
                peak = self._peak(node) * self.fold.get(node.name, 1.0)
                peak *= HEADROOM[16] if width == 16 else HEADROOM[8]
                mine = width - 1 - (math.ceil(math.log2(peak)) if peak > 0 else 0)
            leader = groups[node.name]
            frac[leader] = min(frac.get(leader, 15), mine)
        if numerics.activations == 8:
            for node in model.nodes:
                limit_scores(self, node, groups, frac)
        self._limit(groups, frac)
        self.of = {n.name: Fixed(bits[n.name], frac[groups[n.name]]) for n in model.nodes}

    def _limit(self, groups: Mapping[str, str], frac: dict[str, int]) -> None:
        """Coarsen results until no op has to give more fraction bits than it computes."""
        changed = self.numerics.value_frac is None or self.numerics.activations < 16
        while changed:
            changed = False
            for node in self.model.nodes:
                given = [frac[groups[n]] for n in node.inputs if n not in INPUTS]
                match node.op:
                    case "linear":
                        most = given[0] + min(self.row_fracs(node, given[0]))
                    case "multiply":
                        most = sum(given)
                    case "gelu" | "silu":
                        most = given[0]
                        if given[0] > FINEST_LOOKUP:
                            frac[groups[node.inputs[0]]], changed = FINEST_LOOKUP, True
                    case "rms_norm" | "layer_norm":
                        gain_frac = 0 if node.name in self.gainless else self.gain_frac(node)
                        most = self.unit_frac(node, given[0]) + min(0, gain_frac)
                    case _:
                        continue
                if most < COARSEST:
                    raise ModelError(
                        f"{node.name}: with these weights its values leave any scale: they grow "
                        "with each op that reads them"
                    )
                leader = groups[node.name]
                if frac[leader] > most:
                    frac[leader], changed = most, True

    def _choose_bits(self, node: Node) -> int:
        """Of storage: 8, or 16."""
        return 8 if self._choose_width(node) == 8 else 16

    def _choose_width(self, node: Node) -> int:
        """So many bits hold what calibration saw: fewer than 16 only where every reader multiplies,
        and no sum or norm needs more.

        With 8, what a rotation or a gate reads or gives has some more: scores are sums of products
        of two such values, and a gate's peaks are far above the rest.
        """
        readers = [r for r in self.model.nodes if node.name in r.inputs]
        narrow = ("linear", "attention", "rope", "relu", "multiply")
        if not readers or node.op in ("embed", "add") or any(r.op not in narrow for r in readers):
            return 16
        width = self.numerics.activations
        if self.numerics.queries and all(self._scores(r, node.name) for r in readers):
            width = self.numerics.queries
        fine = ("rope", "multiply")
        if width == 8 and (node.op in fine or any(r.op in fine for r in readers)):
            return width + FINER
        return width

    def _scores(self, reader: Node, name: str) -> bool:
        """Whether all that becomes of a value that is read so is a factor of scores."""
        if reader.op == "rope":
            further = [r for r in self.model.nodes if reader.name in r.inputs]
            return all(self._scores(r, reader.name) for r in further)
        return reader.op == "attention" and name not in reader.inputs[2:]

    # ---- norms

    def norm_shifts(self, node: Node, frac: int) -> tuple[int, int]:
        """(pre_shift, root_shift): the squares of a vector of any int16 sum to under 31 bits.

        frac: the fraction bits of the norm's input.  Results of 8 bits need no finer root than one
        of a byte, if it is not too small.
        """
        if self.numerics.pre_shift is not None:
            return self.numerics.pre_shift, self.numerics.root_shift or 0
        size = find_size(self.model, node.inputs[0])
        least = self.measured.least_rms.get(node.inputs[0], 0.0) * 2.0 ** (frac - BYTE_SHIFT)
        byte = node.name in self.gainless and self._choose_bits(node) == 8
        if byte and least >= LEAST_ROOT and size <= 256:
            return BYTE_SHIFT, 0
        pre = max(0, math.ceil((30 + math.log2(size) - 31) / 2))
        return pre, 2 * pre

    def reciprocal_bits(self, node: Node, frac: int) -> int:
        """So many that the reciprocal of the least root seen stays below 2**15.

        frac: the fraction bits of the norm's input.
        """
        pre, up = self.norm_shifts(node, frac)
        if self.numerics.reciprocal_bits is not None:
            return self.numerics.reciprocal_bits
        least = self.measured.least_rms.get(node.inputs[0], 1.0) / HEADROOM[16]
        root = max(1.0, least * 2.0 ** (frac - pre + up // 2))
        return max(15, min(MOST_RECIPROCAL_BITS, 15 + math.floor(math.log2(root))))

    def unit_frac(self, node: Node, frac: int) -> int:
        """The fraction bits of a norm's unit vector, before its gain."""
        pre, up = self.norm_shifts(node, frac)
        return self.reciprocal_bits(node, frac) - 15 + pre - up // 2

    def gain_frac(self, node: Node) -> int:
        """The scale of a norm's gain."""
        name = node.parameters["gain"]
        if name in self.exact_frac:
            return self.exact_frac[name]
        return weight_frac(float(np.abs(self.model.weights[name]).max()))

    def floors(self, name: str) -> bool:
        """Whether a value's last step is a floor that nothing made up for."""
        node = self.model[name] if name not in INPUTS else None
        return node is not None and node.op in ("rms_norm", "attention")

    # ---- weights

    def folded(self, node: Node, role: str) -> Array:
        """A linear's weight or bias, times what is folded into it."""
        real = self.model.weights[node.parameters[role]] * self.fold.get(node.name, 1.0)
        if role == "weight" and node.inputs[0] in self.gainless:
            real = real * self._gain(self.model[node.inputs[0]])
        return real

    def _gain(self, node: Node) -> Array:
        return self.model.weights[node.parameters["gain"]].reshape(-1)

    def row_fracs(self, node: Node, x_frac: int) -> list[int]:
        """The scale of each row of a linear's matrix: its own, or one for all."""
        name = node.parameters["weight"]
        weight = self.folded(node, "weight")
        if name in self.exact_frac and node.inputs[0] not in self.gainless:
            fracs = [self.exact_frac[name]] * len(weight)
        else:
            fracs = [weight_frac(float(value)) for value in np.abs(weight).max(1)]
        limit = self.sum_limit(node)
        if limit:
            reach = self._reach(node, weight) * 2.0**x_frac
            most = np.floor(np.log2(limit / np.maximum(reach, TINY))).astype(int)
            fracs = np.minimum(fracs, most).tolist()
        # Logits of one scale: they are compared, and a machine may look for the largest alone.
        last = self.numerics.sums == 16 and node is self.model.nodes[-1]
        if self.numerics.weight_scales == "tensor" or last:
            return [min(fracs)] * len(weight)
        return fracs

    def _has_short_sums(self, node: Node) -> bool:
        """Sums of 16 bits are for values of 8, or for all if they were asked for with 16."""
        return self.numerics.activations > 8 or self._choose_bits(self.model[node.inputs[0]]) == 8

    def _reach(self, node: Node, weight: Array) -> Array:
        """How far each of a matrix's sums may get from 0, by the lengths of rows and input."""
        reach = self.reach(node, weight)
        if "bias" in node.parameters:
            reach = reach + np.abs(self.folded(node, "bias").reshape(-1))
        return reach

    def reach(self, node: Node, weight: Array) -> Array:
        """The same without the bias, of weights like a matrix's."""
        if self.model[node.inputs[0]].op == "relu":  # only weights of one sign add up
            signs = [np.maximum(weight, 0), np.minimum(weight, 0)]
        else:
            signs = [weight]
        lengths = np.max([np.linalg.norm(part, axis=1) for part in signs], axis=0)
        return np.asarray(lengths * self._longest(node.inputs[0]))

    def sum_limit(self, node: Node) -> int | None:
        """What the sums of a matrix must not exceed, or None."""
        return SUM_LIMIT[16] if self.numerics.sums == 16 and self._has_short_sums(node) else None

    def _longest(self, name: str) -> float:
        """The length of the longest vector that a value can be, or is expected to be."""
        if name in self.gainless:
            return math.sqrt(find_size(self.model, name)) * NORM_SLACK
        return self.measured.longest.get(name, 0.0) * LONGER

    def seen(self, name: str) -> float:
        """The longest vector that calibration saw, at a value's scale; 0: it saw none."""
        if name in self.gainless:
            length = math.sqrt(find_size(self.model, name))
        else:
            length = self.measured.longest.get(name, 0.0) * self.fold.get(name, 1.0)
        return length * 2.0 ** self.of[name].frac

    def scale(self, node: Node) -> float:
        """An attention's scale of its scores."""
        size = find_size(self.model, node.inputs[0]) // node.attributes.get("heads", 1)
        return float(node.attributes.get("scale") or size**-0.5)

    def _fold_gains(self) -> frozenset[str]:
        """The norms whose gains go into the matrices that read them, and nothing else does."""
        if self.numerics.gains != "folded":
            return frozenset()
        return frozenset(
            node.name
            for node in self.model.nodes
            if node.op == "rms_norm"
            and all(r.op == "linear" for r in self.model.nodes if node.name in r.inputs)
        )

    def _peak(self, node: Node) -> float:
        """The largest magnitude seen of a value, as it will be computed."""
        if node.name not in self.gainless:
            return self.measured.peak.get(node.name, 0.0)
        return self.measured.unit_peak.get(node.name, 0.0)

    def _fold_scales(self) -> dict[str, float]:
        """query -> factor: what an attention's scale lacks to a power of two goes into its query.

        The factor passes through rope, which is linear, into the matrix that makes the query.
        """
        factors: dict[str, float] = {}
        for node in self.model.nodes:
            if node.op != "attention":
                continue
            real = self.scale(node) * self.numerics.score_steps
            factor = real / 2.0 ** round(math.log2(real))
            name = node.inputs[0]
            while factor != 1.0:
                maker = self.model[name]
                if sum(r.inputs.count(name) for r in self.model.nodes) != 1:
                    raise ModelError(
                        f"{node.name}: its query {name} is read elsewhere, too: give attention a "
                        f"scale that is a power of two"
                    )
                if maker.op not in ("linear", "rope"):
                    raise ModelError(
                        f"{node.name}: its query {name} is made by {maker.op}, not by linear: give "
                        f"attention a scale that is a power of two"
                    )
                factors[name] = factor
                if maker.op == "linear":
                    break
                name = maker.inputs[0]
        return factors

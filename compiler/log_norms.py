"""Norms lowered to contracts in logarithms; methods of Lowering (logarithms.py).

    rms_norm    unit = x over its root mean square, y = unit * gain
    layer_norm  the same of x less its mean, and y + bias

Gains are Q10 and start at 1; units, like values, Q8.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anachron.compiler.model import Node
from anachron.kernels.arithmetic import Fixed
from anachron.kernels.reference.log_norms import mean_constant

if TYPE_CHECKING:
    from anachron.compiler.logarithms import Lowering

VALUE_FRAC, GRADIENT_FRAC, GAIN_FRAC, BIAS_FRAC = 8, 11, 10, 13
SQUARE_FRAC = 7  # of the mean square of Q8 codes, which have 16 for their largest


def rms_norm(self: Lowering, node: Node) -> None:
    """unit, then the gain."""
    _normalize(self, node, node.inputs[0], node.name)


def layer_norm(self: Lowering, node: Node) -> None:
    """The mean away, unit, gain, bias."""
    (x,), bias = node.inputs, node.parameters["bias"]
    centered = f"{node.name}.centered"
    _center(self, centered, x)
    _normalize(self, node, centered, f"{node.name}.scaled")
    self._own(node, bias, Fixed(16, BIAS_FRAC), "bias")
    reads = {"x": f"{node.name}.scaled", "bias": bias}
    form, shift = Fixed(16, VALUE_FRAC), {"bias_shift": BIAS_FRAC - VALUE_FRAC}
    self.emit(node.name, "add_bias", form, reads, shift)


def norm_gradient(self: Lowering, node: Node) -> None:
    """The gradient of x through the gain, the division and, in a layer norm, the mean."""
    dy, origin = node.inputs[0], self.origins[node.name]
    gain, unit, x = origin.parameters["gain"], f"{origin.name}.unit", origin.inputs[0]
    layered = origin.op == "layer_norm"
    x = f"{origin.name}.centered" if layered else x
    scaled, form = f"{node.name}.scaled", Fixed(16, GRADIENT_FRAC)
    constant = {"constant": self.constant(GRADIENT_FRAC, dy, gain)}
    self.emit(scaled, "scale", form, {"x": dy, "gain": gain}, constant, "x gain")
    size = self.step.model.shapes[gain][-1]
    octave = _square(self, x)
    attributes = {
        "square_constant": self.constant(octave, x, x) + mean_constant(size),
        "mean_constant": self.constant(GRADIENT_FRAC, scaled, unit) + mean_constant(size),
        "unit_constant": self.amount(-VALUE_FRAC),
        "constant": self.amount(octave / 2),
    }
    name = f"{node.name}.uncentered" if layered else node.name
    reads = {"dy": scaled, "codes": scaled, "unit": unit, "x": x}
    self.emit(name, "normalize_gradient", form, reads, attributes, "codes unit x")
    if layered:
        _center(self, node.name, name)


def _center(self: Lowering, name: str, x: str) -> None:
    shift = self.shift(x)
    form = Fixed(16, self.formats[x].frac - shift)
    self.emit(name, "center", form, {"x": x, "codes": x}, {"shift": shift}, "codes")


def _normalize(self: Lowering, node: Node, x: str, name: str) -> None:
    gain, unit = node.parameters["gain"], f"{node.name}.unit"
    self._own(node, gain, Fixed(16, GAIN_FRAC), "gain")
    size, octave = self.step.model.shapes[gain][-1], _square(self, x)
    frac = self.formats[x].frac - self.shift(x)
    attributes = {
        "square_constant": self.constant(octave, x, x) + mean_constant(size),
        "constant": self.amount(VALUE_FRAC - frac + octave / 2),
    }
    form = Fixed(16, VALUE_FRAC)
    self.emit(unit, "normalize", form, {"x": x}, attributes, "x")
    constant = {"constant": self.constant(VALUE_FRAC, unit, gain)}
    self.emit(name, "scale", form, {"x": unit, "gain": gain}, constant, "x gain")


def _square(self: Lowering, x: str) -> int:
    """Fraction bits of a mean square, so that that of the largest codes is nearly a word."""
    frac = self.formats[x].frac - self.shift(x)
    return SQUARE_FRAC + 2 * (frac - VALUE_FRAC)


def update_gain(self: Lowering, parameter: str, gradient: Node) -> None:
    """Take a gain's gradient at its rate."""
    dy, unit = gradient.inputs[0], f"{self.origins[gradient.name].name}.unit"
    octave = GAIN_FRAC + math.log2(self.rates[parameter])
    reads = {"weight": parameter, "dy": dy, "x": unit}
    constant = {"constant": self.constant(octave, dy, unit)}
    self.emit(parameter, "update_gain", self.formats[parameter], reads, constant, "dy x")

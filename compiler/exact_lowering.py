"""Step -> LogStep in plain fixed point: the lowering of logarithms.py, with multiplications.

Formats are the same; what is a code there is a 16-bit integer here, and a constant the power of two
that a sum is scaled by (kernels/reference/exact_training.py).
"""

from __future__ import annotations

import math

from anachron.compiler.autodiff import Step
from anachron.compiler.logarithms import Format, Lowering
from anachron.compiler.model import ModelError, Node
from anachron.kernels.arithmetic import Fixed
from anachron.kernels.reference.exact_training import SHARE_FRAC


class ExactLowering(Lowering):
    """In plain fixed point: a rate is the nearest power of two, attention's scale must be one."""

    exact = True
    share: Format = Fixed(16, SHARE_FRAC)
    slope: Format = Fixed(16, SHARE_FRAC)

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.plain = False
        if step.model.recipe.get("decay"):
            raise ModelError(f"{step.model.name}: in fixed point rates stay: leave decay out")

    def shift(self, name: str) -> int:
        return 0

    def amount(self, octave: float) -> int:
        return max(-30, min(14, round(octave)))

    def attention(self, node: Node) -> None:
        scale = math.log2(node.attributes["scale"])
        if scale != round(scale):
            raise ModelError(
                f"{node.where or node.name}: attention's scale is {node.attributes['scale']:.4g}; "
                "in fixed point a power of two trains: write scale = 1/4, or have heads of 16"
            )
        super().attention(node)

    def rms_norm(self, node: Node) -> None:
        raise ModelError(f"{node.where or node.name}: norms train in logarithms only")

    layer_norm = rms_norm

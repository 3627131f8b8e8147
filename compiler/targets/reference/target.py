"""The reference: the FixedModel run by numpy, op by op, as kernels/reference/ defines it.

Every other target is compared with this one.  It keeps the rows of keys and values between calls,
so a token costs one position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anachron.compiler.fixed import FixedModel
from anachron.compiler.model import INPUTS
from anachron.kernels.arithmetic import Array
from anachron.kernels.contracts import CONTRACTS

KERNELS = frozenset(CONTRACTS)


class Session:
    """One text being read and written: the state is the rows of every value so far."""

    def __init__(self, fixed: FixedModel) -> None:
        self.fixed = fixed
        self.n_positions = 0
        self._rows: dict[str, Array] = {}
        attended = {n for op in fixed.ops if op.contract == "attention" for n in op.inputs[1:]}
        self._attended = attended
        causal = [op.attributes["causal"] for op in fixed.ops if op.contract == "attention"]
        self._causal = all(causal)

    def step(self, tokens: Sequence[int]) -> dict[str, Array]:
        """Run the next positions; every value by name, (len(tokens), size) integers.

        An encoder takes all its positions in one call.  Raises ValueError for a token outside the
        vocabulary or a position outside the context.
        """
        if not self._causal and self.n_positions:
            raise ValueError(f"{self.fixed.name} sees all positions at once: give them in one call")
        first, end = self.n_positions, self.n_positions + len(tokens)
        if end > self.fixed.seq_len:
            raise ValueError(f"{end} positions, but the context holds {self.fixed.seq_len}")
        token = np.asarray(tokens, np.int64)
        position = np.arange(first, end)
        values: dict[str, Array] = dict(zip(INPUTS, (token, position), strict=True))
        for op in self.fixed.ops:
            arguments = [values[name] for name in op.inputs]
            extra: dict[str, object] = {}
            if op.contract == "attention":
                arguments[1:] = [self._rows[name] for name in op.inputs[1:]]
                extra["first"] = first
            result = CONTRACTS[op.contract].meaning(
                *arguments, **op.constants, **op.attributes, bits=op.value.format.bits, **extra
            )
            values[op.name] = result
            if op.name in self._attended:
                past = self._rows.get(op.name)
                self._rows[op.name] = result if past is None else np.concatenate([past, result])
        self.n_positions = end
        return {op.name: values[op.name] for op in self.fixed.ops}

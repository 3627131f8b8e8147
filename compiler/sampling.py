"""How tokens are chosen: what a user says of it, and the integers that machines hold of it."""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.reference.sampling import ONE, inverse_temperature, seed_state


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen: temperature 0 takes the likeliest.  Letters as in llama2.c."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise ValueError(f"temperature {self.temperature:g}: allowed is 0 to 100")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top-p {self.top_p:g}: allowed is above 0, up to 1")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: allowed is 0 and up")

    @property
    def inverse(self) -> int:
        """256 / temperature, 0 for greedy."""
        return inverse_temperature(self.temperature) if self.temperature else 0

    @property
    def kept(self) -> int:
        """top-p in 256ths."""
        return max(1, round(self.top_p * ONE))

    @property
    def state(self) -> int:
        """The random generator's 32 bits before the first token."""
        return seed_state(self.seed)

"""placeholder until timing lands"""
from dataclasses import dataclass
from typing import Any
@dataclass(frozen=True)
class Prediction:
    program: Any
    values: Any
    objects: Any
    timing: str
    def __call__(self, position, wants_logits):
        return {}

"""What every machine that trains prints, the reference's lines word by word (log_training.py)."""

from __future__ import annotations

STEP_DIGITS, LOSS_DIGITS, ACCURACY_DIGITS = 5, 4, 3
STEPS_OF_LOSS = 32  # to a neper


def texts(title: str, sequences: int, line: str) -> dict[str, str]:
    """Name -> a text between the numbers; line is how the machine begins a new one."""
    return {
        "title": f"{title}{line}{line}",
        "step": "STEP ",
        "loss": "  LOSS=",
        "accuracy": "  ACC=",
        "becomes": " -> ",
        "right": f" OK{line}",
        "wrong": f" --{line}",
        "tests": "TESTS ",
        "of_tests": f"/{sequences}{line}",
    }

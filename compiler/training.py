"""The training loop in floating point: Model with a recipe -> Training.

    batch -> autodiff.evaluate -> update of every parameter; a report every `window` steps

To add an optimizer: a function here, a line in UPDATES and in recipes.OPTIMIZERS.
Source of Adam: Kingma & Ba, 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from anachron.compiler import floats
from anachron.compiler.autodiff import LOSS, Step, differentiate, evaluate
from anachron.compiler.data import make_batches
from anachron.compiler.model import Array, Model, ModelError, random_weights

STEPS, WINDOW = 350, 50  # of a recipe that names none
MAX_STEPS = 1_000_000
MOMENTS, SMALLEST = (0.9, 0.999), 1e-8  # of Adam

State = dict[str, Array]
Report = Callable[[int, float, float], None]


@dataclass(frozen=True)
class Training:
    """What came of a training.

    losses, accuracies  means over each window, before the update of each step; an accuracy is the
                        share of counted places where the largest logit is the target's
    """

    model: Model  # with its new weights
    steps: int
    seed: int
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def weights(self) -> Mapping[str, Array]:
        return self.model.weights

    @property
    def accuracy(self) -> float:
        """Of the last window."""
        return self.accuracies[-1]

    def __repr__(self) -> str:
        return (
            f"Training({self.model.name}: {self.steps} steps, seed {self.seed}, "
            f"loss {self.losses[-1]:.4f}, accuracy {self.accuracy:.3f})"
        )


def train(
    model: Model, steps: int | None = None, seed: int = 0, progress: Report | None = None
) -> Training:
    """Train from random weights; the same seed gives the same weights.

    steps     the recipe's by default
    progress  called with (step, loss, accuracy) after each step
    """
    steps = model.recipe.get("steps", STEPS) if steps is None else steps
    if not 1 <= steps <= MAX_STEPS:
        raise ModelError(f"{model.name}: {steps} steps, allowed is 1 to {MAX_STEPS:,}")
    window = model.recipe.get("window", WINDOW)
    decay = min(1.0, model.recipe.get("decay", 0.0))
    step_graph = differentiate(model)
    weights = random_weights(model.shapes, seed)
    states: dict[str, State] = {name: {} for name in weights}
    batches = make_batches(model, seed)
    seen: list[tuple[float, float]] = []
    for step in range(1, steps + 1):
        tokens, targets = next(batches)
        values = evaluate(step_graph, weights, tokens, targets)
        rest = 1 - decay * (step - 1) / steps
        update(step_graph, weights, values, states, step, rest)
        seen.append(_measure(values, targets))
        if progress:
            progress(step, *seen[-1])
    windows = [np.mean(seen[i : i + window], axis=0) for i in range(0, steps, window)]
    trained = model.with_weights(weights, f"trained {steps} steps, seed {seed}")
    return Training(
        trained,
        steps,
        seed,
        tuple(float(loss) for loss, _ in windows),
        tuple(float(accuracy) for _, accuracy in windows),
    )


def update(
    step_graph: Step,
    weights: dict[str, Array],
    values: Mapping[str, Array],
    states: Mapping[str, State],
    step: int,
    rest: float,
) -> None:
    """Give every parameter its new value; rest is what is left of each rate."""
    for node in step_graph.updates:
        name = node.parameters["weight"]
        rate, clip = rest * node.attributes["rate"], node.attributes["clip"]
        gradient = values[node.inputs[0]]
        weights[name] = UPDATES[node.op](
            weights[name], gradient, states[name], step, rate=rate, clip=clip
        )


def _measure(values: Mapping[str, Array], targets: Array) -> tuple[float, float]:
    """Mean loss and share of right answers over the places that count."""
    counted = targets >= 0
    total = max(1, int(counted.sum()))
    right = (values["logits"].argmax(-1) == targets) & counted
    return float(values[LOSS].sum()) / total, float(right.sum()) / total


def sgd(
    weight: Array, gradient: Array, state: State, step: int, *, rate: float, clip: float
) -> Array:
    """Against the gradient."""
    return floats.sgd(weight, gradient, rate=rate, clip=clip)


def adam(
    weight: Array, gradient: Array, state: State, step: int, *, rate: float, clip: float
) -> Array:
    """Against the mean gradient, over the root of its mean square."""
    gradient = np.clip(gradient, -clip, clip)
    for name, decay, value in zip("mv", MOMENTS, (gradient, gradient**2), strict=True):
        state[name] = decay * state.get(name, np.zeros_like(weight)) + (1 - decay) * value
    mean = state["m"] / (1 - MOMENTS[0] ** step)
    square = state["v"] / (1 - MOMENTS[1] ** step)
    return weight - rate * mean / (np.sqrt(square) + SMALLEST)


UPDATES = {"sgd": sgd, "adam": adam}

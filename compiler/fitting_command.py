"""What the command line adds where a model does not fit: what would, found by building it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from rich.console import Console

import anachron.compiler as ac
from anachron.compiler import arguments
from anachron.compiler.fitting import find_fits, tell
from anachron.compiler.model import Model
from anachron.compiler.targets import DoesNotFit


def explain(args: argparse.Namespace, machine: str, error: DoesNotFit, err: Console) -> str:
    """Why a model does not fit a machine, and what would, in one line."""
    sizes = arguments.sizes(args)

    def load(changes: dict[str, int]) -> Model:
        return ac.load(args.model, tokenizer=args.tokenizer, overrides=sizes | changes)

    def attempt(model: Model, machine: str, rough: bool, **options: Any) -> object:
        return _build(args, model, machine, rough, options)

    with err.status(f"{args.model} does not fit {machine}: looking for what does ..."):
        fits = find_fits(
            load({}),
            machine,
            error,
            attempt,
            lambda name, value: load({name: value}),
            getattr(args, "memory", None),
        )
    if _trains(args):  # it begins with weights of its own
        fits = tuple(replace(fit, retrained=False) for fit in fits)
    return f"{error}; {tell(fits)}"


def _trains(args: argparse.Namespace) -> bool:
    return args.command == "train" or getattr(args, "train", False)


def _build(
    args: argparse.Namespace, model: Model, machine: str, rough: bool, options: dict[str, Any]
) -> object:
    """As the command line would build it: the program, or the one that trains."""
    if _trains(args):
        from anachron.compiler import training_command

        return training_command.build_as_asked(args, model, machine, options)
    fixed = ac.quantize(model, samples=[] if rough else None, **arguments.numerics(args))
    logits = args.command == "compare" or getattr(args, "logits", False)
    return ac.build(fixed, machine, smallest=True, logits=logits, **options)

"""FixedModel -> Image: from a machine's name to its target."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import (
    DoesNotFit,
    Machine,
    MissingKernel,
    Options,
    check_feedback,
    find_machine,
    find_target,
    targets_with,
)


def build(fixed: FixedModel, machine: str, **options: Any) -> Image:
    """Build a model for a machine; options are the fields of targets.Options.

    Raises ValueError for an unknown machine, MissingKernel for an op that the target lacks, and
    DoesNotFit, saying by how much, where the memory is not enough.
    """
    row = find_machine(machine)
    if row.target == "reference":
        raise ValueError("the reference runs models as they are: there is no image to build")
    chosen = Options(**options)
    check_options(fixed, chosen)
    check_size(fixed, row, chosen)
    target = find_target(row)
    for op in fixed.ops:
        if op.contract not in target.KERNELS:
            have = ", ".join(targets_with(op.contract))
            raise MissingKernel(
                f"{op.name}: {row.target} has no kernel for {op.contract}; targets that have one: "
                f"{have}"
            )
    return target.build(fixed, row, chosen)


def rebuild(image: Image, sampling: Sampling) -> Image:
    """The image that begins with another sampling."""
    chosen = replace(image.options, sampling=sampling)
    check_options(image.fixed, chosen)
    image = find_target(image.machine).build(image.fixed, image.machine, chosen)
    assert isinstance(image, Image)
    return image


def check_options(fixed: FixedModel, options: Options) -> None:
    """Raise ValueError for what no image of this model could do."""
    if options.sampling.temperature and fixed.generation.mode == "sequence":
        raise ValueError(
            f"{fixed.name} answers a whole sequence with the likeliest tokens: leave the "
            "temperature out"
        )
    check_feedback(options)


def check_size(fixed: FixedModel, machine: Machine, options: Options) -> None:
    """Raise DoesNotFit where the weights alone are more than the machine's memory."""
    room = options.memory_bytes or machine.memory_bytes
    need = sum(array.nbytes for op in fixed.ops for array in op.constants.values())
    if room and need > room:
        raise DoesNotFit(
            f"{fixed.name} does not fit a {machine.title}: its weights and tables alone take "
            f"{need:,} bytes, {need - room:,} more than its {room:,}",
            need - room,
        )

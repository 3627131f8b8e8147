"""A prompt for a kernel, on a GPU or interpreted: ids in, ids and logits out, and what it cost.

The host turns text to ids and back; everything between happens in one launch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anachron.compiler.prompts import encode_prompt
from anachron.compiler.run import Run, RunError
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import MissingKernel
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.estimation import ClockPrediction
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, write_kernel
from anachron.compiler.targets.cuda.launching import Launch, prepare
from anachron.compiler.targets.cuda.origins import name_instructions, sum_by_op
from anachron.compiler.targets.cuda.prediction import Prediction
from anachron.compiler.targets.cuda.stream_kernel import END, NEXT
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.emulators.ptx import PtxError, Result, load
from anachron.kernels.cuda.sampling import MOST_SAMPLED

if TYPE_CHECKING:
    from anachron.compiler.targets.cuda.target import KernelImage

CLOCKS = "SM clocks"  # of the whole launch, as the kernel counts them itself


class KernelConversation:
    """An image's kernel, ready.

    schedule  the interpreter's seed, None for its usual order
    profile   on a GPU, a kernel that reads the clock between ops, which takes longer
    """

    def __init__(
        self,
        image: KernelImage,
        n: int | None,
        sampling: Sampling | None,
        schedule: int | None = None,
        profile: bool = False,
    ) -> None:
        self.image, self.n, self.schedule = image, n, schedule
        self.sampling = sampling or Sampling()
        if self.sampling.inverse and image.fixed.vocab_size > MOST_SAMPLED:
            raise MissingKernel(f"the kernel samples from {MOST_SAMPLED} ids at most: leave out -t")
        self.interpreted = image.machine.name == "ptx"
        self.text, self.ptx, self.on = image.text, image.program.ptx, image.machine
        if self.interpreted:
            self.kernel = load(self.ptx)
            return
        self.device = device = Device.open("H200" if image.machine.name == "h200" else "")
        self.on = replace(self.on, title=device.name, clock_hz=device.clock_hz)
        if profile and image.fixed.generation.mode != "sequence":
            room = device.gpu.shared_bytes
            self.text = write_kernel(image.fixed, image.options.logits, phases=True, room=room)
            self.ptx = compile_kernel(self.text.source, self.text.threads, ARGUMENTS, alone=True)

    def ask(self, prompt: str, listener: Callable[[str, int], None] | None = None) -> Run:
        """One launch; the listener hears of passes and tokens when it is over.

        Raises RunError where the interpreter finds a race or anything else that must not be.
        """
        image, fixed, text = self.image, self.image.fixed, self.text
        ids = encode_prompt(fixed, prompt)
        encoder = fixed.generation.mode == "sequence"
        room = fixed.seq_len - len(ids)
        most = min(room, room if self.n is None else self.n)
        launch = prepare(fixed, text, ids, most, self.sampling, keep_logits=image.options.logits)
        passes: list[int] = []
        kernels: dict[str, int] = {}
        time_ns = None
        if encoder or most > 0:
            if self.interpreted:
                passes, kernels = self._interpret(launch, len(ids))
            else:
                time_ns = self.device.launch(
                    self.ptx, launch.arguments, text.threads, text.layout.shared_bytes
                )
                kernels = _tell_apart(text.phases, launch.clocks())
                chosen = len(launch.answer())
                whole = sum(kernels.values())
                passes = _share(whole, 1 if encoder else len(ids) - 1 + chosen)
        answer = launch.answer()
        logits = launch.array("logits")[0]
        kept = len(answer)
        predictor = None
        if passes and (self.interpreted or not encoder):
            ask: Prediction | ClockPrediction = image.clocks
            if self.interpreted:
                ask = replace(image.instructions, sampling=self.sampling)
            predictor = partial(ask.whole, len(ids), len(passes), tuple(answer), most)
        if not encoder and answer and answer[-1] in fixed.generation.stop:
            answer.pop()
        if listener:
            for position in range(len(passes)):
                listener("pass", position)
            for token in answer:
                listener("token", token)
        return Run(
            self.on,
            fixed.name,
            prompt,
            tuple(ids),
            tuple(answer),
            fixed.tokenizer.decode(answer),
            tuple(passes),
            kernels,
            predictor,
            image_bytes=image.size_bytes,
            macs=fixed.run_macs(len(ids), len(passes)),
            logits=logits[:kept].astype(np.int64) if image.options.logits else None,
            image=image,
            timed_ns=time_ns,
        )

    def _interpret(self, launch: Launch, n_prompt: int) -> tuple[list[int], dict[str, int]]:
        """Instructions of each pass, and by op."""
        text = self.image.text
        try:
            result = self.kernel.launch(
                *launch.arguments,
                threads=launch.threads,
                shared=launch.shared,
                seed=self.schedule,
            )
        except PtxError as error:
            raise RunError(f"{self.image!r}: {error}") from None
        if result.races:
            raise RunError(f"{self.image!r}: {result.races[0]}")
        counts = [len(text.always)] * (n_prompt - 1) + [len(text.at_end)] * len(launch.answer())
        if self.image.fixed.generation.mode == "sequence":
            counts = [len(text.at_end)]
        counts[0] += len(text.leading)
        names = name_instructions(self.kernel.program, text.source)
        return _divide(result, counts), sum_by_op(names, result.issued, text.source)


def _divide(result: Result, barriers: list[int]) -> list[int]:
    """Instructions of each pass, by the barriers that it goes through; the kernel's start is part
    of the first."""
    start, *rest = result.intervals
    if len(rest) != sum(barriers):
        raise RunError(f"{len(rest)} barriers passed, {sum(barriers)} were put in")
    passes = []
    for count in barriers:
        passes.append(start + sum(rest[:count]))
        start, rest = 0, rest[count:]
    return passes


def _tell_apart(phases: tuple[str, ...], clocks: list[int]) -> dict[str, int]:
    """Clocks by op, of a kernel that takes them: a mark closes what stands before it.  What is
    between and after the marks is the end's, so that the sum is all of it."""
    whole, *parts = clocks
    if not phases:
        return {CLOCKS: whole}
    kernels: dict[str, int] = {}
    for name, count in zip(("", *phases[:-1]), parts, strict=True):
        kernels[name or NEXT] = kernels.get(name or NEXT, 0) + count
    return {**kernels, END: whole - sum(parts)}


def _share(total: int, parts: int) -> list[int]:
    """A whole in so many nearly equal parts: only the sum was measured."""
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


def converse(
    image: KernelImage,
    n: int | None = None,
    sampling: Sampling | None = None,
    profile: bool = False,
) -> KernelConversation:
    """What run.py asks a target for that has no machine with labels to stop at."""
    return KernelConversation(image, n, sampling, profile=profile)

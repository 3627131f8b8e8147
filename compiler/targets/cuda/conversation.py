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
from anachron.compiler.run import Run, RunError, count_macs
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import MissingKernel
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.launching import Launch, prepare
from anachron.compiler.targets.cuda.origins import name_instructions, sum_by_op
from anachron.emulators.ptx import PtxError, Result, load
from anachron.kernels.cuda.sampling import MOST_SAMPLED

if TYPE_CHECKING:
    from anachron.compiler.targets.cuda.target import KernelImage

CLOCKS = "SM clocks"  # of the whole launch, as the kernel counts them itself


class KernelConversation:
    """An image's kernel, ready; `schedule` is the interpreter's seed, None for its usual order."""

    def __init__(
        self,
        image: KernelImage,
        n: int | None,
        sampling: Sampling | None,
        schedule: int | None = None,
    ) -> None:
        self.image, self.n, self.schedule = image, n, schedule
        self.sampling = sampling or Sampling()
        if self.sampling.inverse and image.fixed.vocab_size > MOST_SAMPLED:
            raise MissingKernel(f"the kernel samples from {MOST_SAMPLED} ids at most: leave out -t")
        self.interpreted = image.machine.name == "ptx"
        ptx = image.program.ptx
        if self.interpreted:
            self.kernel = load(ptx)
        else:
            self.device = Device.open("H200" if image.machine.name == "h200" else "")

    def ask(self, prompt: str, listener: Callable[[str, int], None] | None = None) -> Run:
        """One launch; the listener hears of passes and tokens when it is over.

        Raises RunError where the interpreter finds a race or anything else that must not be.
        """
        image, fixed, text = self.image, self.image.fixed, self.image.text
        ids = encode_prompt(fixed, prompt)
        encoder = fixed.generation.mode == "sequence"
        room = fixed.seq_len - len(ids)
        most = min(room, room if self.n is None else self.n)
        launch = prepare(fixed, text, ids, most, self.sampling, keep_logits=image.options.logits)
        passes: list[int] = []
        kernels: dict[str, int] = {}
        if encoder or most > 0:
            if self.interpreted:
                passes, kernels = self._interpret(launch, len(ids))
            else:
                time_ns = self.device.launch(
                    image.program.ptx, launch.arguments, text.threads, text.layout.shared_bytes
                )
                kernels = {CLOCKS: launch.clocks()[0]}
                chosen = len(launch.answer())
                passes = _share(time_ns, 1 if encoder else len(ids) - 1 + chosen)
        answer = launch.answer()
        logits = launch.array("logits")[0]
        kept = len(answer)
        predictor = None
        if self.interpreted and passes:
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
            image.machine,
            fixed.name,
            prompt,
            tuple(ids),
            tuple(answer),
            fixed.tokenizer.decode(answer),
            tuple(passes),
            kernels,
            predictor,
            image_bytes=image.size_bytes,
            macs=count_macs(fixed, len(ids), len(passes)),
            logits=logits[:kept].astype(np.int64) if image.options.logits else None,
            image=image,
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
        return _divide(result, counts), sum_by_op(names, result.issued)


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


def _share(total: int, parts: int) -> list[int]:
    """A whole in so many nearly equal parts: only the sum was measured."""
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


def converse(
    image: KernelImage, n: int | None = None, sampling: Sampling | None = None
) -> KernelConversation:
    """What run.py asks a target for that has no machine with labels to stop at."""
    return KernelConversation(image, n, sampling)

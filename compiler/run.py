"""Image -> Run: a prompt typed at the machine, the tokens that it chose, and what they cost.

The image runs unchanged: the host types at the keyboard or the console, and listens at the labels
that every image has.  The reference is run here, too, by the same rules.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from anachron.compiler.building import rebuild
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image, Loadable
from anachron.compiler.prompts import encode_prompt, typeable
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import Absent, Machine, find_machine, find_target
from anachron.compiler.targets.reference.target import Session
from anachron.compiler.timing import Cycles
from anachron.emulators import create
from anachron.kernels.arithmetic import Array
from anachron.kernels.reference.sampling import argmax, sample

EVENTS = ("ready", "forward", "forward_done", "token_chosen", "answer_done")
UNPACKING = 20_000_000  # cycles: more than 64 KB take to be unpacked, or copied from a cartridge
PATIENCE = 50  # a run may take so many times its predicted cycles before it is given up


class RunError(RuntimeError):
    """A program that did not do what an image promises: a defect of ours, not a user's mistake."""


@dataclass(frozen=True, repr=False)
class Run:
    """What a machine answered.

    counts     cycles (nanoseconds on the PDP-11, instructions on ptx) of each forward pass, prompt
               positions first; one number for an encoder
    predictor  finds the same, by kernel, from the program's text and the reference's integers
    logits     (generated, vocab_size), or None
    timed_ns   by another clock than the counted one, where there is one
    passes     of a run that did not take place, as the reference has them
    """

    on: Machine
    model: str
    prompt: str
    prompt_ids: tuple[int, ...]
    generated: tuple[int, ...]
    text: str
    counts: tuple[int, ...] = ()
    cycles: Mapping[str, int] = field(default_factory=dict)
    predictor: Callable[[], Mapping[str, Cycles]] | None = field(default=None, compare=False)
    image_bytes: int = 0
    macs: int = 0
    logits: Array | None = None
    machine: Any = field(default=None, repr=False, compare=False)
    image: Image | None = field(default=None, repr=False, compare=False)
    status: str = "ok"
    bytes_over: int = 0
    note: str = ""
    timed_ns: int | None = None
    passes: int = 0

    def __repr__(self) -> str:
        unit = "" if not self.counts else f", {self.total:,} {self.on.unit}"
        told = repr(self.text) if self.status == "ok" else f"{self.status}: {self.note}"
        return f"Run({self.model} on {self.on.title}: {self.prompt!r} -> {told}{unit})"

    def show(self) -> None:
        """Print the row of this machine, and its time by kernel."""
        from anachron.compiler.pages import show

        show(self)

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.prompt_ids + self.generated

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def time_ns(self) -> int | None:
        return self.on.time_ns(self.total) if self.timed_ns is None else self.timed_ns

    @property
    def n_tokens(self) -> int:
        """Tokens that the counts were spent on: positions, or an encoder's whole input."""
        n = len(self.counts) or self.passes
        return max(1, n if n > 1 else len(self.generated))

    @cached_property
    def predicted_kernels(self) -> Mapping[str, Cycles]:
        """The time of each kernel, as the program's text tells it; what data plays a part in is
        counted in the integers that the reference finds for this text.  Nothing where what
        predicts is not installed."""
        try:
            return self.predictor() if self.predictor else {}
        except Absent:
            return {}

    @property
    def predicted(self) -> Cycles | None:
        """The same, summed; None where nothing is predicted."""
        kernels = self.predicted_kernels.values()
        return sum(kernels, Cycles(0, 0, 0)) if kernels else None

    def _times(self) -> list[int | None] | None:
        """Nanoseconds of each pass; a time taken of all of them is shared as the counts are."""
        if self.on.counted or self.status != "ok":
            return None
        if self.timed_ns is None:
            return [self.on.time_ns(count) for count in self.counts]
        return [round(self.timed_ns * count / max(1, self.total)) for count in self.counts]

    def agrees(self, other: Run) -> bool:
        """The same prompt ids, tokens and (where both have them) logits."""
        same = self.prompt_ids == other.prompt_ids and self.generated == other.generated
        if self.logits is not None and other.logits is not None:
            same = same and np.array_equal(self.logits, other.logits)
        return same

    def as_json(self, logits: bool = False) -> dict[str, Any]:
        """The object that `--json` prints."""
        times = self._times()
        clocked = self.on.clock_hz is not None
        out: dict[str, Any] = {
            "machine": self.on.name,
            "status": self.status,
            "model": self.model,
            "prompt": self.prompt,
            "prompt_ids": list(self.prompt_ids),
            "tokens": list(self.tokens),
            "text": self.text,
            "time_ns": self.time_ns if self.counts else None,
            "time_ns_per_token": times,
            "cycles_total": self.total if clocked and self.counts else None,
            "cycles_per_token": list(self.counts) if clocked and self.status == "ok" else None,
            "clock_hz": self.on.clock_hz,
            "image_bytes": self.image_bytes or None,
            "kernels": dict(self.cycles),
            "predicted": list(self.predicted) if self.predicted else None,
        }
        if self.on.counted:
            out[f"{self.on.counted}_total"] = self.total if self.counts else None
            out[f"{self.on.counted}_per_token"] = list(self.counts)
        if self.status == "does_not_fit":
            out["bytes_over"] = self.bytes_over
        if self.note:
            out["note"] = self.note
        if logits:
            out["logits"] = [] if self.logits is None else self.logits.tolist()
        return out


def run_reference(
    fixed: FixedModel, prompt: str, n: int | None = None, sampling: Sampling | None = None
) -> Run:
    """Generate with the reference; n is the largest number of new tokens."""
    sampling = sampling or Sampling()
    on = find_machine("reference")
    generation = fixed.generation
    ids = encode_prompt(fixed, prompt)
    session = Session(fixed)
    name = fixed.logits.name
    if generation.mode == "sequence":
        logits = session.step(ids)[name]
        answer = [argmax(row, first_id=generation.first_id) for row in logits]
        passes = 1
    else:
        answer, rows, state = [], [], sampling.state
        new = ids
        while len(ids) + len(answer) < fixed.seq_len and (n is None or len(answer) < n):
            last = session.step(new)[name][-1]
            rows.append(last)
            if sampling.inverse:
                token, state = sample(
                    last,
                    state,
                    frac=fixed.logits.format.frac,
                    inverse=sampling.inverse,
                    top_p=sampling.kept,
                    first_id=generation.first_id,
                )
            else:
                token = argmax(last, first_id=generation.first_id)
            if token in generation.stop:
                break
            answer.append(token)
            new = [token]
        logits = np.array(rows).reshape(len(rows), fixed.vocab_size)
        passes = len(ids) - 1 + len(rows) if rows else 0
    text = fixed.tokenizer.decode(answer)
    return Run(
        on, fixed.name, prompt, tuple(ids), tuple(answer), text, logits=logits, passes=passes
    )


def run_image(
    image: Image,
    prompt: str,
    n: int | None = None,
    sampling: Sampling | None = None,
    listener: Callable[[str, int], None] | None = None,
) -> Run:
    """Type a prompt at an image's machine and collect the answer; see Conversation."""
    return converse(image, n, sampling).ask(prompt, listener)


def converse(
    image: Image, n: int | None = None, sampling: Sampling | None = None, profile: bool = False
) -> Any:
    """A Conversation, or what the image's target has in its place.

    profile  time by kernel is wanted, even if taking it takes time itself
    """
    make = getattr(find_target(image.machine), "converse", None)
    return make(image, n, sampling, profile) if make else Conversation(image, n, sampling)


class Conversation:
    """A machine with an image running: questions typed, answers collected, one after the other.

    n is the largest number of new tokens of an answer; without a sampling the image's own holds.
    An image that cannot draw tokens is built again where they are to be drawn.
    """

    def __init__(
        self, image: Image, n: int | None = None, sampling: Sampling | None = None
    ) -> None:
        sampling = sampling or image.options.sampling
        if sampling.inverse and not image.options.draws and image.machine.target == "mos6502":
            image = rebuild(image, sampling)
        context = image.fixed.seq_len
        self.image, self.machine = image, start(image)
        self.clocked = image.machine.clock_hz is not None
        self.events = {image.symbols[name]: name for name in EVENTS}
        last = image.predict(context - 1, True)  # no position takes longer
        self.limit = PATIENCE * (context * sum(c.hi for c in last.values()) + 100_000_000)
        self._run_until("ready")
        self._deposit("max_new", context if n is None else min(n, context), 2)
        self._deposit("inverse_temperature", sampling.inverse, 2)
        self._deposit("top_p", sampling.kept, 2)
        self._deposit("random_state", sampling.state, 4)

    def ask(self, prompt: str, listener: Callable[[str, int], None] | None = None) -> Run:
        """Type one line and run to the end of the answer.

        listener("pass", position) is called after each forward pass, listener("token", id) for
        each token chosen.  Raises RunError if the program leaves its own path.
        """
        image, fixed = self.image, self.image.fixed
        if "\n" in prompt or "\r" in prompt:
            raise ValueError(f"the prompt {prompt!r} has more than one line")
        if self.machine.registers["pc"] != image.symbols["ready"]:
            self._run_until("ready")
        self.machine.type(typeable(fixed, prompt) + "\r")
        before = self._profile()
        counts: list[int] = []
        answer: list[int] = []
        logits: list[Array] = []
        prompt_ids: list[int] = []
        began = 0
        while (event := self._run_until()) != "answer_done":
            match event:
                case "forward":
                    if not counts:
                        prompt_ids = self._read_prompt()
                    began = self.now
                case "forward_done":
                    counts.append(self.now - began)
                    logits += self._read_logits(len(counts), len(prompt_ids))
                    if listener:
                        listener("pass", len(counts) - 1)
                case "token_chosen":
                    answer.append(self._read("next_token", image.token_bytes))
                    if listener and answer[-1] not in fixed.generation.stop:
                        listener("token", answer[-1])
                case "ready":
                    said = self.machine.console if hasattr(self.machine, "console") else ""
                    raise RunError(f"{image!r} asked again without an answer. {said[-160:]}")
        if answer and answer[-1] in fixed.generation.stop:
            answer.pop()
        after = self._profile()
        tokens = tuple(prompt_ids + answer)[: len(counts)]
        if fixed.generation.mode == "sequence":
            tokens = tuple(prompt_ids)
        predictor = partial(predict, image, len(prompt_ids), len(counts), tokens)
        return Run(
            image.machine,
            fixed.name,
            prompt,
            tuple(prompt_ids),
            tuple(answer),
            fixed.tokenizer.decode(answer),
            tuple(counts),
            {name: after[name] - before[name] for name in after},
            predictor,
            image.size_bytes,
            fixed.run_macs(len(prompt_ids), len(counts)),
            np.array(logits) if image.options.logits else None,
            self.machine,
            image,
        )

    @property
    def now(self) -> int:
        """Cycles since reset, or nanoseconds on a machine that counts those."""
        return self.machine.cycles if self.clocked else self.machine.time_ns

    def _run_until(self, wanted: str | None = None) -> str:
        """Run to the next event, or to the wanted one."""
        stops = [a for a, name in self.events.items() if wanted in (None, name)]
        limit = {"max_cycles" if self.clocked else "max_time_ns": self.limit}
        reason = self.machine.run(until=stops, **limit)
        pc = self.machine.registers["pc"]
        if pc not in stops:
            raise RunError(
                f"{self.image!r} stopped at {self.image.address(pc)}, not at a label: {reason}"
            )
        return self.events[pc]

    def _read(self, name: str, n_bytes: int, index: int = 0) -> int:
        at = self.image.symbols[name] + n_bytes * index
        return int.from_bytes(bytes(self.machine.memory[at : at + n_bytes]), "little")

    def _deposit(self, name: str, value: int, n_bytes: int) -> None:
        at = self.image.symbols[name]
        for i, byte in enumerate(value.to_bytes(n_bytes, "little")):
            self.machine.memory[at + i] = byte

    def _read_prompt(self) -> list[int]:
        width = self.image.token_bytes
        return [self._read("prompt_ids", width, i) for i in range(self._read("n_prompt", width))]

    def _read_logits(self, n_passes: int, n_prompt: int) -> list[Array]:
        image = self.image
        decoder = image.fixed.generation.mode == "next"
        if not image.options.logits or decoder and n_passes < n_prompt:
            return []
        rows = image.locations["logits"].decode(self.machine.memory)
        return list(rows.reshape(-1, image.fixed.vocab_size))

    def _profile(self) -> dict[str, int]:
        counts = np.asarray(self.machine.profile())
        return {
            o.name: int(counts[o.address : o.end].sum())
            for o in self.image.objects
            if o.kind == "code"
        }


def start(image: Loadable) -> Any:
    """A fresh emulated machine with the image loaded and started."""
    options = dict(image.machine.options)
    if image.options.memory_bytes and image.machine.target == "pdp11":
        options["memory"] = image.options.memory_bytes
    if image.options.timing:
        options["timing"] = image.options.timing
    machine = create(image.machine.name, **options)
    first = next(iter(image.container))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".reu", first) if ".reu" in image.container else (first,):
            path = Path(folder) / f"program{suffix}"
            path.write_bytes(image.container[suffix])
            machine.load(path)
    if image.options.packed or first == ".crt":
        machine.run(max_cycles=UNPACKING, until=image.entry)
    else:
        machine.registers["pc"] = image.entry
    return machine


def predict(
    image: Image, n_prompt: int, n_passes: int, tokens: Sequence[int] = ()
) -> dict[str, Cycles]:
    """Cycles of a run by kernel, without running it; without tokens, of a text like its own."""
    sums: dict[str, Cycles] = {}
    ask = image.predict
    if hasattr(ask, "whole"):  # passes that are not told apart from what is around them
        return ask.whole(n_prompt, n_passes, tokens[n_prompt:])
    if tokens and hasattr(ask, "in_text"):
        ask = ask.in_text(tokens, n_prompt - 1)
    if image.fixed.generation.mode == "sequence":
        passes = [(0, True)]
    else:
        passes = [(p, p >= n_prompt - 1) for p in range(n_passes)]
    for position, wants_logits in passes:
        for name, cycles in ask(position, wants_logits).items():
            sums[name] = sums[name] + cycles if name in sums else cycles
    return sums

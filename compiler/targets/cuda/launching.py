"""What a stream kernel is given, and what comes back: arrays in the order of its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anachron.compiler.run import Sampling
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, KernelText
from anachron.compiler.targets.cuda.residence import Residence
from anachron.kernels.arithmetic import Array
from anachron.kernels.reference.sampling import seed_state

if TYPE_CHECKING:
    from anachron.compiler.fixed import FixedModel


@dataclass(frozen=True)
class Launch:
    """Arguments by name, and how the kernel is to be started.

    chosen  (blocks, most + 1): how many ids, and the ids
    logits  (blocks, most, vocab_size), where the kernel keeps them
    clocks  of block 0: of the whole, and of each phase
    """

    named: dict[str, Array | int]
    threads: int
    shared: int
    blocks: int

    @property
    def arguments(self) -> tuple[Array | int, ...]:
        return tuple(self.named[name] for name in ARGUMENTS)

    def array(self, name: str) -> Array:
        array = self.named[name]
        assert isinstance(array, np.ndarray)
        return array

    def answer(self, block: int = 0) -> list[int]:
        """The ids that a block chose."""
        row = self.array("chosen")[block]
        return [int(token) for token in row[1 : 1 + row[0]]]

    def clocks(self) -> list[int]:
        """As numbers without a sign: 32 bits last for some seconds."""
        return [int(count) % (1 << 32) for count in self.array("clocks")]


def prepare(
    fixed: FixedModel,
    text: KernelText,
    ids: list[int],
    most: int,
    sampling: Sampling | None = None,
    *,
    keep_logits: bool = True,
    repeats: int = 1,
    blocks: int = 1,
) -> Launch:
    """Arguments for a prompt's ids and at most so many new ones; an encoder chooses seq_len."""
    sampling = sampling or Sampling()
    encoder = fixed.generation.mode == "sequence"
    rows = fixed.seq_len if encoder else max(1, most)
    if blocks > 1 and not isinstance(text.layout, Residence):
        raise ValueError(f"{fixed.name}: only stream kernels run in many blocks")
    memory = text.layout.content(blocks) if isinstance(text.layout, Residence) else (
        text.layout.blob
    )  # fmt: skip
    kept = (blocks, rows, fixed.vocab_size) if keep_logits else (1, 1, 1)
    named: dict[str, Array | int] = {
        "gm": np.frombuffer(memory, np.uint8).copy(),
        "prompt": np.array(ids, np.int32),
        "n_prompt": len(ids),
        "most": most,
        "inverse_temperature": sampling.inverse,
        "top_p": sampling.kept,
        "random_state": signed(seed_state(sampling.seed)),
        "repeats": repeats,
        "chosen": np.zeros((blocks, 1 + rows), np.int32),
        "logits": np.zeros(kept, np.int32),
        "clocks": np.zeros(1 + len(text.phases), np.int32),
    }
    return Launch(named, text.threads, text.layout.shared_bytes, blocks)


def signed(word: int) -> int:
    """32 bits as the kernels take them."""
    return (word + (1 << 31)) % (1 << 32) - (1 << 31)

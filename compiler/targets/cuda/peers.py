"""A model's shape in PyTorch, to be timed beside ours: floats there, integers here.

One token a step, keys and values in place, the likeliest id found on the device, so that nothing
waits for the host; a CUDA graph of the step is replayed for each token, which is the least that
PyTorch can do.  Weights are random: only the time is asked for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from anachron.compiler.fixed import FixedModel

BATCHES = (1, 16, 256, 4096, 16384)
TOKENS, REPETITIONS, EAGER_TOKENS = 100, 5, 30
MOST_CACHE = 8 << 30  # bytes of keys and values


@dataclass(frozen=True)
class Shape:
    """What decides the time of a decoder's step."""

    dim: int
    hidden: int
    heads: int
    kv_heads: int
    layers: int
    vocab: int
    positions: int
    gated: bool

    @property
    def cache_bytes(self) -> int:
        """Of one stream, in half precision."""
        kv_dim = self.dim // self.heads * self.kv_heads
        return 2 * 2 * self.layers * self.positions * kv_dim


def find_shape(fixed: FixedModel) -> Shape:
    """The shape of a decoder whose every attention has a feed-forward behind it."""
    attentions = [op for op in fixed.ops if op.contract == "attention"]
    first = attentions[0]
    hidden = max(
        (op.value.size for op in fixed.ops[:-1] if op.contract == "matvec"), default=0
    )
    return Shape(
        first.value.size,
        hidden,
        first.attributes["heads"],
        first.attributes["kv_heads"],
        len(attentions),
        fixed.vocab_size,
        fixed.seq_len,
        any(op.contract == "multiply" for op in fixed.ops),
    )


class Decoder:
    """A step for a batch of streams."""

    def __init__(self, torch: Any, shape: Shape, batch: int, device: str, kind: Any) -> None:
        self.torch, self.shape, self.batch = torch, shape, batch
        generator = torch.Generator().manual_seed(0)

        def random(*size: int) -> Any:
            return (torch.randn(*size, generator=generator) * 0.2).to(device, kind)

        s = shape
        self.head = s.dim // s.heads
        kv_dim = self.head * s.kv_heads
        self.tokens, self.places = random(s.vocab, s.dim), random(s.positions, s.dim)
        self.last, self.out = random(s.dim), random(s.dim, s.vocab)
        self.layers = [
            {
                "qkv": random(s.dim, s.dim + 2 * kv_dim), "mix": random(s.dim, s.dim),
                "up": random(s.dim, s.hidden * (1 + s.gated)), "down": random(s.hidden, s.dim),
                "first": random(s.dim), "second": random(s.dim),
            }
            for _ in range(s.layers)
        ]  # fmt: skip
        rows = (s.layers, batch, s.kv_heads, s.positions, self.head)
        self.keys = torch.zeros(*rows, device=device, dtype=kind)
        self.values = torch.zeros_like(self.keys)
        self.token = torch.zeros(batch, dtype=torch.long, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.every = torch.arange(s.positions, device=device)

    def norm(self, x: Any, gain: Any) -> Any:
        scale = self.torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)
        return x * scale.to(x.dtype) * gain

    def step(self) -> None:
        """One token of every stream; all in place."""
        torch, s, head, batch = self.torch, self.shape, self.head, self.batch
        functional = torch.nn.functional
        x = self.tokens[self.token] + self.places.index_select(0, self.position)
        seen = torch.where(self.every <= self.position, 0.0, float("-inf")).to(x.dtype)
        kv_dim = head * s.kv_heads
        for i, layer in enumerate(self.layers):
            parts = self.norm(x, layer["first"]) @ layer["qkv"]
            q, k, v = parts.split((s.dim, kv_dim, kv_dim), -1)
            self.keys[i].index_copy_(2, self.position, k.view(batch, s.kv_heads, 1, head))
            self.values[i].index_copy_(2, self.position, v.view(batch, s.kv_heads, 1, head))
            mixed = functional.scaled_dot_product_attention(
                q.view(batch, s.kv_heads, s.heads // s.kv_heads, head),
                self.keys[i], self.values[i], attn_mask=seen.view(1, 1, 1, -1),
            )  # fmt: skip
            x = x + mixed.reshape(batch, s.dim) @ layer["mix"]
            wide = self.norm(x, layer["second"]) @ layer["up"]
            if s.gated:
                gate, up = wide.split((s.hidden, s.hidden), -1)
                wide = functional.silu(gate) * up
            else:
                wide = torch.relu(wide)
            x = x + wide @ layer["down"]
        logits = self.norm(x, self.last) @ self.out
        self.token.copy_(logits.argmax(-1))
        self.position.copy_((self.position + 1) % s.positions)


def bench_torch(torch: Any, shape: Shape, batch: int) -> dict[str, float]:
    """Microseconds a step: eager (of one stream), and by replaying a graph."""
    decoder = Decoder(torch, shape, batch, "cuda", torch.float16)
    found: dict[str, float] = {}
    with torch.inference_mode():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                decoder.step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        if batch == 1:
            began = time.perf_counter()
            for _ in range(EAGER_TOKENS):
                decoder.step()
            torch.cuda.synchronize()
            found["eager"] = (time.perf_counter() - began) / EAGER_TOKENS * 1e6
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            decoder.step()
        best = float("inf")
        for _ in range(REPETITIONS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in "12")
            start.record()
            for _ in range(TOKENS):
                graph.replay()
            end.record()
            torch.cuda.synchronize()
            best = min(best, start.elapsed_time(end) * 1e3 / TOKENS)
        found["graph"] = best
    return found

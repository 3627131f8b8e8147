"""A model's shape in PyTorch, to be timed beside ours: floats there, integers here.

One token a step, keys and values in place, the likeliest id found on the device, so that nothing
waits for the host; a CUDA graph of the step is replayed for each token, which is the least that
PyTorch can do.  Attention is done both ways that PyTorch's users write it, and the faster counts;
torch.compile, which fuses what lies between the matrices, is tried, too, where there is time.
Weights are random: only the time is asked for.

Source: PyTorch, "CUDA semantics": "CUDA Graphs" (warm-up on another stream, static addresses).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from anachron.compiler.fixed import FixedModel

BATCHES = (1, 16, 256, 4096, 16384)
TOKENS, REPETITIONS, EAGER_TOKENS, WARM_TOKENS = 100, 5, 30, 3
MOST_SECONDS = 2.0  # of one way's repetitions, beyond which no other begins
MOST_CACHE = 8 << 30  # bytes of keys and values
WAYS = ("fused", "matrices")  # of attention: PyTorch's own function, or two products


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
    """A step for a batch of streams; way is one of WAYS."""

    def __init__(
        self, torch: Any, shape: Shape, batch: int, device: str, kind: Any, way: str = WAYS[0]
    ) -> None:
        self.torch, self.shape, self.batch, self.way = torch, shape, batch, way
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
        later = torch.ones(s.positions, s.positions, device=device).triu(1) > 0
        self.masks = torch.zeros(s.positions, s.positions, device=device, dtype=kind)
        self.masks.masked_fill_(later, float("-inf"))  # a row a position

    def norm(self, x: Any, gain: Any) -> Any:
        own = getattr(self.torch.nn.functional, "rms_norm", None)  # of PyTorch 2.4
        if own:
            return own(x, (x.shape[-1],), gain, 1e-5)
        scale = self.torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)
        return x * scale.to(x.dtype) * gain

    def attend(self, q: Any, keys: Any, values: Any, mask: Any) -> Any:
        """(batch, kv_heads, group, head): the queries of a group share keys and values."""
        if self.way == "fused":
            attention = self.torch.nn.functional.scaled_dot_product_attention
            return attention(q, keys, values, attn_mask=mask)
        scores = (q * self.head**-0.5) @ keys.transpose(-1, -2) + mask
        return scores.softmax(-1) @ values

    def step(self) -> None:
        """One token of every stream; all in place."""
        torch, s, head, batch = self.torch, self.shape, self.head, self.batch
        functional = torch.nn.functional
        x = self.tokens[self.token] + self.places.index_select(0, self.position)
        mask = self.masks.index_select(0, self.position)
        kv_dim = head * s.kv_heads
        for i, layer in enumerate(self.layers):
            parts = self.norm(x, layer["first"]) @ layer["qkv"]
            q, k, v = parts.split((s.dim, kv_dim, kv_dim), -1)
            self.keys[i].index_copy_(2, self.position, k.view(batch, s.kv_heads, 1, head))
            self.values[i].index_copy_(2, self.position, v.view(batch, s.kv_heads, 1, head))
            mixed = self.attend(
                q.view(batch, s.kv_heads, s.heads // s.kv_heads, head),
                self.keys[i], self.values[i], mask.view(1, 1, 1, -1),
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
    """Microseconds a step: eager (of one stream), and by replaying a graph; of both ways the less.

    Only the first way's error is raised: the other is an offer.
    """
    found: dict[str, float] = {}
    for way in WAYS:
        try:
            times = bench_way(torch, shape, batch, way)
        except RuntimeError:
            if not found:
                raise
            continue
        found = {name: min(each, found.get(name, each)) for name, each in times.items()}
    return found


def bench_way(
    torch: Any, shape: Shape, batch: int, way: str, fused: bool = False
) -> dict[str, float]:
    """The times of one way; fused: by torch.compile."""
    decoder = Decoder(torch, shape, batch, "cuda", torch.float16, way)
    step = torch.compile(decoder.step) if fused else decoder.step
    found: dict[str, float] = {}
    with torch.inference_mode():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_TOKENS):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        if batch == 1 and not fused:
            began = time.perf_counter()
            for _ in range(EAGER_TOKENS):
                step()
            torch.cuda.synchronize()
            found["eager"] = (time.perf_counter() - began) / EAGER_TOKENS * 1e6
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        best = float("inf")
        began = time.perf_counter()
        for i in range(REPETITIONS):
            if i and time.perf_counter() - began > MOST_SECONDS:
                break
            start, end = (torch.cuda.Event(enable_timing=True) for _ in "12")
            start.record()
            for _ in range(TOKENS):
                graph.replay()
            end.record()
            torch.cuda.synchronize()
            best = min(best, start.elapsed_time(end) * 1e3 / TOKENS)
        found["graph"] = best
    return found

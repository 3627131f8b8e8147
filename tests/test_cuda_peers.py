"""The PyTorch that a GPU's times are compared with: it computes a decoder, and is timed as one."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.targets.cuda import peers

torch = pytest.importorskip("torch", reason="torch is not installed")
STEPS = 12


def decode(d: peers.Decoder, steps: int) -> np.ndarray:
    """The same decoder, in float64: (steps, batch) ids."""
    s, head, batch = d.shape, d.head, d.batch
    kv_dim = head * s.kv_heads
    keys = np.zeros((s.layers, batch, s.kv_heads, s.positions, head))
    values = np.zeros_like(keys)
    token, chosen = np.zeros(batch, int), []

    def norm(x: np.ndarray, gain: Any) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * gain.numpy()

    for p in range(steps):
        x = d.tokens.numpy()[token] + d.places.numpy()[p]
        for i, layer in enumerate(d.layers):
            q, k, v = np.split(
                norm(x, layer["first"]) @ layer["qkv"].numpy(), [s.dim, s.dim + kv_dim], -1
            )
            keys[i][:, :, p] = k.reshape(batch, s.kv_heads, head)
            values[i][:, :, p] = v.reshape(batch, s.kv_heads, head)
            q = q.reshape(batch, s.kv_heads, -1, head)
            scores = np.einsum("bgrh,bgph->bgrp", q, keys[i][:, :, : p + 1]) / np.sqrt(head)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            mixed = np.einsum("bgrp,bgph->bgrh", weights, values[i][:, :, : p + 1])
            x = x + mixed.reshape(batch, s.dim) @ layer["mix"].numpy()
            wide = norm(x, layer["second"]) @ layer["up"].numpy()
            if s.gated:
                gate, up = np.split(wide, 2, -1)
                wide = gate / (1 + np.exp(-gate)) * up
            else:
                wide = np.maximum(wide, 0)
            x = x + wide @ layer["down"].numpy()
        token = (norm(x, d.last) @ d.out.numpy()).argmax(-1)
        chosen.append(token)
    return np.array(chosen)


@pytest.mark.parametrize("way", peers.WAYS)
@pytest.mark.parametrize("name", ["llama", "chat", "gpt2"])
def test_a_peer_is_a_decoder_of_the_model_s_shape(name: str, way: str) -> None:
    """Grouped heads, gates, and keys of all positions before."""
    shape = peers.find_shape(ac.quantize(ac.load(name)))
    decoder = peers.Decoder(torch, shape, 3, "cpu", torch.float64, way)
    found = []
    with torch.inference_mode():
        for _ in range(STEPS):
            decoder.step()
            found.append(decoder.token.numpy().copy())
    assert np.array_equal(found, decode(decoder, STEPS)) and len(set(map(tuple, found))) > 1


class Event:
    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        return (other.at - self.at) * 1e3


class Played:
    """torch without a GPU: a graph is the steps that were taken while it was recorded."""

    def __init__(self) -> None:
        self.cuda = self
        self.steps: list[Any] = []
        self.recording: Any = None
        self.Event = Event

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def Stream(self) -> Played:
        return self

    current_stream = Stream

    def wait_stream(self, other: Any) -> None: ...

    def synchronize(self) -> None: ...

    def stream(self, other: Any) -> Any:
        return contextlib.nullcontext()

    def CUDAGraph(self) -> Played:
        return self

    @contextlib.contextmanager
    def graph(self, graph: Any) -> Any:
        self.recording = graph
        yield
        self.recording = None

    def replay(self) -> None:
        for step in self.steps:
            step()


@pytest.mark.parametrize("batch", [1, 16])
def test_a_peer_is_timed_eager_and_by_its_graph(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, taken, original = Played(), [], peers.Decoder

    class OnCpu(original):  # type: ignore[misc, valid-type]
        def __init__(
            self, module: Any, shape: Any, n: int, device: str, kind: Any, way: str
        ) -> None:
            assert (device, kind) == ("cuda", torch.float16)
            super().__init__(torch, shape, n, "cpu", torch.float32, way)

        def step(self) -> None:
            if played.recording is not None:
                played.steps.append(super().step)
                return
            taken.append(self)
            super().step()

    monkeypatch.setattr(peers, "Decoder", OnCpu)
    monkeypatch.setattr(peers, "TOKENS", 4)
    monkeypatch.setattr(peers, "REPETITIONS", 2)
    monkeypatch.setattr(peers, "EAGER_TOKENS", 3)
    found = peers.bench_torch(played, peers.find_shape(ac.quantize(ac.load("llama"))), batch)
    assert set(found) == ({"eager", "graph"} if batch == 1 else {"graph"})
    assert min(found.values()) > 0 and len(played.steps) == len(peers.WAYS)
    assert len(taken) == len(peers.WAYS) * (6 if batch == 1 else 3)
    assert {decoder.way for decoder in taken} == set(peers.WAYS)

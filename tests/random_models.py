"""Random tiny models, as program texts: any dimensions, any of the four families of ops."""

from __future__ import annotations

import random

ALPHABET = "abcdefghijklmnopqrstuvwxyz .,!?"


def random_text(seed: int, families: tuple[str, ...] = ("encoder", "rms", "layer", "llama")) -> str:
    """A program text; the same seed gives the same one."""
    draw = random.Random(seed)
    family = draw.choice(families)
    heads = draw.choice((1, 2, 3, 4))
    kv_heads = draw.choice([n for n in range(1, heads + 1) if heads % n == 0])
    size = draw.choice((2, 4, 6, 8))
    dim = heads * size
    vocabulary = draw.randint(5, len(ALPHABET))
    lines = [
        f"model random{seed}",
        f"size dim = {dim}, seq_len = {draw.randint(3, 12)}, vocab_size = {vocabulary}, "
        f"hidden_dim = {draw.randint(3, 40)}, n_layers = {draw.randint(1, 2)}, heads = {heads}, "
        f"kv_heads = {kv_heads}",
    ]
    if family == "encoder":
        lines += [
            "tokenizer digits",
            "task reverse",
            "tok = embed(token, dim)",
            "pos = embed(position, dim)",
            "x = tok + pos",
            "repeat n_layers as layer:",
            "    q = linear(x, dim)",
            "    k = linear(x, dim)",
            f"    v = linear(x, dim{draw.choice(('', ', bias'))})",
            "    x = x + attention(q, k, v, heads = heads)",
            "logits = linear(x, vocab_size)",
        ]
        return "\n".join(lines) + "\n"
    norm = "layer_norm" if family == "layer" else "rms_norm"
    turn = "rope({0}, heads = {1})" if family == "llama" else "{0}"
    interleaved = draw.choice(("", ", interleaved"))
    turn = turn.replace(")", interleaved + ")")
    hidden = {
        "rms": "relu(linear(n, hidden_dim, bias))",
        "layer": "gelu(linear(n, hidden_dim, bias))",
        "llama": "silu(linear(n, hidden_dim)) * linear(n, hidden_dim)",
    }[family]
    lines += [
        f'tokenizer characters("{ALPHABET[:vocabulary]}")',
        "tok = embed(token, dim)",
        *(["x = tok"] if family == "llama" else ["pos = embed(position, dim)", "x = tok + pos"]),
        "repeat n_layers as layer:",
        f"    n = {norm}(x)",
        f"    q = {turn.format('linear(n, dim)', 'heads')}",
        f"    k = {turn.format(f'linear(n, {kv_heads * size})', 'kv_heads')}",
        f"    v = linear(n, {kv_heads * size})",
        "    a = attention(q, k, v, heads = heads, kv_heads = kv_heads, causal)",
        "    x = x + linear(a, dim)",
        f"    n = {norm}(x)",
        f"    x = x + linear({hidden}, dim{', bias' if family != 'llama' else ''})",
        f"n = {norm}(x)",
        "logits = linear(n, vocab_size)",
    ]
    return "\n".join(lines) + "\n"


def random_prompt(seed: int, vocabulary: int, length: int) -> str:
    """Characters that the model knows."""
    draw = random.Random(seed)
    return "".join(draw.choice(ALPHABET[:vocabulary].strip()) for _ in range(length))

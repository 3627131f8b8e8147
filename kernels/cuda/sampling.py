"""argmax: the smallest id with the largest logit, found by every warp for itself."""

from __future__ import annotations

from anachron.kernels.cuda.places import Place, each_lane

MOST_IDS = 1 << 16  # an id and a logit share a word


def argmax(logits: Place, *, first_id: int) -> list[str]:
    """Leave the id in `best`: the largest of logit << 16 | 65535 - id, over a warp."""
    key = f"add32(shl32({logits.load('f')}, 16), sub32({MOST_IDS - 1}, f))"
    return [
        "key = int32(-2147483648)",
        *each_lane(logits.size, [f"key = max32(key, {key})"], first_id),
        f"best = sub32({MOST_IDS - 1}, redux_max(key) & {MOST_IDS - 1})",
    ]

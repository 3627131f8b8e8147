"""A text -> a vocabulary of byte-pair encoding: how the tokenizer of a program is made.

Characters first, then the pair of neighbours that occurs most often becomes one piece, again and
again; of equals, the one that is first in the alphabet.  Pieces do not cross the characters in
`apart`, so that a word is spelt alike wherever it stands.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence


def learn_vocabulary(
    text: str,
    size: int,
    specials: Sequence[str] = (),
    alphabet: str = "",
    apart: str = " \n|",
) -> dict[str, object]:
    """{"vocab": {piece: id}, "merges": [[left, right], ...]}, as load_tokenizer reads it.

    size      pieces in all: specials, characters, and what is left for merges
    alphabet  characters to have even if the text lacks them
    """
    characters = sorted(set(text + alphabet) - set("\n|"))
    pieces = [*specials, *characters]
    if len(pieces) > size:
        raise ValueError(f"{len(pieces)} characters and special tokens, the vocabulary has {size}")
    words = Counter(re.findall(f"[^{re.escape(apart)}]+", text))
    spelt = {word: list(word) for word in words}
    merges: list[list[str]] = []
    while len(pieces) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in spelt.items():
            for pair in zip(parts, parts[1:], strict=False):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(list(best))
        if "".join(best) not in pieces:
            pieces.append("".join(best))
        for parts in spelt.values():
            join(parts, best)
    return {"vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": merges}


def join(parts: list[str], pair: tuple[str, str]) -> None:
    """Put the pair's piece in its place, from the left."""
    i = 0
    while i + 1 < len(parts):
        if (parts[i], parts[i + 1]) == pair:
            parts[i : i + 2] = ["".join(pair)]
        i += 1


def format_vocabulary(vocabulary: dict[str, object]) -> str:
    """The file of a vocabulary."""
    return json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n"

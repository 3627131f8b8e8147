"""Text <-> token ids, by one rule that a host, a 6502 and a PDP-11 can all follow.

    1. Each character becomes an id by a table.  A character the table lacks is lower-cased where
       only its lower case is known, else becomes the unknown token where there is one, else is
       dropped.  Byte-fallback tokenizers have an id for every byte, and so nothing unknown.
    2. Repeat: of all neighbours that have a merge, take the one of the lowest rank, the leftmost
       of equals, and put its result in their place.

Both kinds of byte-pair encoding come down to this: a list of merges ranks them by their place in
the list, a list of scored pieces (llama2.c) by the score of the result.

To add a file format: a reader here and a line in READERS.
Sources: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016;
llama2.c, run.c, encode().
"""

from __future__ import annotations

import heapq
import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anachron.emulators.containers.files import read_file

MAX_FILE_BYTES = 1 << 24
MAX_VOCABULARY = 1 << 15  # a machine keeps ids in 16 bits, -1 among them
MAX_MERGES = 1 << 20
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
UNKNOWN_NAMES = ("<UNK>", "<unk>", "[UNK]")
LLAMA_SPECIALS = (("<unk>", 0), ("<s>", 1), ("</s>", 2))  # llama2.c, tokenizer.py
LLAMA_FIRST_BYTE = 3  # <0x00> .. <0xFF> follow the three specials


class TokenizerError(ValueError):
    """A tokenizer that cannot be: one line that says where, what was found and what was allowed."""


class Merge(NamedTuple):
    """Neighbours left, right become result; the lowest rank goes first."""

    left: int
    right: int
    result: int
    rank: int


@dataclass(frozen=True)
class MachineTables:
    """What a machine needs to encode and print by itself.

    characters (256,)   int16: the id of each byte typed, -1 where it is dropped
    merges     (n, 3)   uint16: left, right, result, in the order of rank
    ranks      (n,)     uint16: rises along merges; equal where only the place in the text decides
    pieces              the bytes to print for each id; empty for special tokens
    lead                the id put before any text that is not empty, or -1
    """

    characters: np.ndarray
    merges: np.ndarray
    ranks: np.ndarray
    pieces: tuple[bytes, ...]
    lead: int


@dataclass(frozen=True)
class Tokenizer:
    """Pieces by id, and how characters join into them.

    >>> digits(10).encode("3141")
    [3, 1, 4, 1]
    """

    kind: str  # digits, characters or bpe
    pieces: tuple[bytes, ...]  # what each id prints; empty for special tokens
    merges: tuple[Merge, ...] = ()
    specials: tuple[tuple[str, int], ...] = ()  # names of ids that no text encodes to
    unknown: int | None = None
    lead: int | None = None  # llama2.c's dummy prefix: a space before the text
    first_byte: int | None = None  # the id of <0x00>, where every byte has a token
    name: str = ""  # the file it came from

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}: {self.vocab_size} pieces, {len(self.merges)} merges)"

    @cached_property
    def characters(self) -> dict[str, int]:
        """The id of every single character that has one, byte tokens left aside."""
        bytes_from = self.first_byte if self.first_byte is not None else self.vocab_size
        found: dict[str, int] = {}
        for i, piece in enumerate(self.pieces):
            if not bytes_from <= i < bytes_from + 256 and 0 < len(piece) <= 4:
                text = piece.decode("utf-8", "replace")
                if len(text) == 1 and text != "\ufffd":
                    found.setdefault(text, i)
        return found

    @cached_property
    def _merge_of(self) -> dict[tuple[int, int], Merge]:
        return {(merge.left, merge.right): merge for merge in reversed(self.merges)}

    def character_ids(self, character: str) -> tuple[int, ...]:
        """The ids of one character: one, or one a byte, or none where it is dropped."""
        if character in self.characters:
            return (self.characters[character],)
        if self.first_byte is not None:
            return tuple(self.first_byte + b for b in character.encode("utf-8", "replace"))
        if character.isascii() and character.lower() in self.characters:
            return (self.characters[character.lower()],)
        return () if self.unknown is None else (self.unknown,)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without any template around them."""
        ids = [i for character in text for i in self.character_ids(character)]
        if text and self.lead is not None:
            ids.insert(0, self.lead)
        return self._join(ids)

    def _join(self, ids: list[int]) -> list[int]:
        """Apply the merges: a heap of (rank, place) finds the next one, links skip what is gone."""
        after = list(range(1, len(ids))) + [-1]
        before = list(range(-1, len(ids) - 1))
        heap: list[tuple[int, int, int, int]] = []

        def offer(place: int) -> None:
            if place >= 0 and after[place] >= 0:
                merge = self._merge_of.get((ids[place], ids[after[place]]))
                if merge:
                    heapq.heappush(heap, (merge.rank, place, merge.left, merge.right))

        for place in range(len(ids) if self.merges else 0):
            offer(place)
        while heap:
            _, place, left, right = heapq.heappop(heap)
            gone = after[place]
            if ids[place] != left or gone < 0 or ids[gone] != right:
                continue  # one of the two has joined another since
            ids[place] = self._merge_of[left, right].result
            after[place] = after[gone]
            if after[gone] >= 0:
                before[after[gone]] = place
            ids[gone] = -1
            offer(before[place])
            offer(place)
        return [i for i in ids if i >= 0]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens print nothing, a lead directly behind one is dropped."""
        special = {i for _, i in self.specials}
        text, bare = b"", False
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise TokenizerError(f"token {i} is not in 0 .. {self.vocab_size - 1}")
            piece = self.pieces[i]
            if bare and self.lead is not None and piece.startswith(self.pieces[self.lead]):
                piece = piece[len(self.pieces[self.lead]) :]
            bare = i in special
            text += piece
        return text.decode("utf-8", "replace")

    def remarks(self, text: str) -> str:
        """One line about characters not taken as they are; empty where all are known."""
        notes: list[str] = []
        for character in dict.fromkeys(text):
            ids = self.character_ids(character)
            if character in self.characters or self.first_byte is not None:
                continue
            if not ids:
                notes.append(f"{character!r} dropped")
            elif ids[0] == self.unknown:
                notes.append(f"{character!r} taken as the unknown token")
            else:
                notes.append(f"{character!r} taken as {character.lower()!r}")
        more = f" and {len(notes) - 6} more" if len(notes) > 6 else ""
        return ", ".join(notes[:6]) + more

    def machine_tables(self) -> MachineTables:
        """The tables of the rule above, for bytes as a keyboard or a console sends them.

        A character that takes several bytes counts once, by its first byte; only byte-fallback
        tokenizers see the others.
        """
        characters = np.full(256, -1, np.int16)
        for byte in range(256):
            if byte < 128:
                ids = self.character_ids(chr(byte))
            elif self.first_byte is not None:
                ids = (self.first_byte + byte,)
            else:
                ids = () if self.unknown is None or byte < 0xC0 else (self.unknown,)
            characters[byte] = ids[0] if ids else -1
        merges = np.array([m[:3] for m in self.merges], np.uint16).reshape(-1, 3)
        ranks = np.array([m.rank for m in self.merges], np.uint16)
        lead = -1 if self.lead is None else self.lead
        return MachineTables(characters, merges, ranks, self.pieces, lead)


def digits(size: int = 10) -> Tokenizer:
    """One token a digit, 0 .. 9, then a .. z as in any base above ten."""
    if not 2 <= size <= len(DIGITS):
        raise TokenizerError(f"digits: {size} digits, allowed is 2 to {len(DIGITS)}")
    return Tokenizer("digits", tuple(c.encode() for c in DIGITS[:size]))


def characters(alphabet: str) -> Tokenizer:
    """One token a character of the alphabet, in its order."""
    for i, c in enumerate(alphabet):
        if not (c.isascii() and (c.isprintable() or c == "\n")):
            raise TokenizerError(f"characters: {c!r} is not a printable ASCII character")
        if c in alphabet[:i]:
            raise TokenizerError(f"characters: {c!r} is there twice")
    if len(alphabet) < 2:
        raise TokenizerError(f"characters: {len(alphabet)} characters, at least 2 are needed")
    return Tokenizer("characters", tuple(c.encode() for c in alphabet))


def load_tokenizer(path: str | Path, vocab_size: int | None = None) -> Tokenizer:
    """Read a tokenizer file; raises TokenizerError unless it is whole and has vocab_size pieces.

    .json  {"vocab": {piece: id}, "merges": [[left, right], ...]}, special tokens written <NAME>
    .bin   llama2.c: the longest piece's length, then score, length and bytes of every piece
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise TokenizerError(
            f"{path}: a tokenizer is a {' or '.join(READERS)} file, not {path.suffix or 'that'}"
        )
    found = reader(read_file(path, MAX_FILE_BYTES, TokenizerError), str(path))
    if vocab_size is not None and found.vocab_size != vocab_size:
        raise TokenizerError(
            f"{path}: {found.vocab_size} pieces, but the model's vocabulary has {vocab_size}"
        )
    return found


def read_json(data: bytes, where: str) -> Tokenizer:
    """A vocabulary with its merges in the order of their rank."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{where}: not JSON: {error}") from None
    vocabulary = tree.get("vocab") if isinstance(tree, dict) else None
    merges = tree.get("merges", []) if isinstance(tree, dict) else None
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        raise TokenizerError(f'{where}: expected {{"vocab": {{piece: id}}, "merges": [...]}}')
    if not 2 <= len(vocabulary) <= MAX_VOCABULARY:
        raise TokenizerError(f"{where}: {len(vocabulary)} pieces, allowed is 2 to {MAX_VOCABULARY}")
    ids = list(vocabulary.values())
    if any(type(i) is not int for i in ids) or sorted(ids) != list(range(len(ids))):
        raise TokenizerError(f"{where}: the ids are not 0 .. {len(vocabulary) - 1}, each once")
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    specials = tuple((p, vocabulary[p]) for p in ordered if len(p) > 2 and p[0] + p[-1] == "<>")
    special_ids = {i for _, i in specials}
    rows: list[Merge] = []
    for rank, pair in enumerate(merges):
        if isinstance(pair, str):
            pair = pair.split(" ")
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(p) is str for p in pair)):
            raise TokenizerError(f"{where}: merge {rank} is {str(pair)[:40]}, not a pair of pieces")
        for piece in (*pair, "".join(pair)):
            if piece not in vocabulary:
                raise TokenizerError(
                    f"{where}: merge {rank} names {piece[:40]!r}, which is no piece"
                )
        left, right = pair
        rows.append(Merge(vocabulary[left], vocabulary[right], vocabulary[left + right], rank))
    if len(rows) > MAX_VOCABULARY:  # ranks are 16 bits
        raise TokenizerError(f"{where}: {len(rows)} merges, at most {MAX_VOCABULARY} are allowed")
    pieces = tuple(
        b"" if i in special_ids else piece.encode("utf-8", "replace")
        for i, piece in enumerate(ordered)
    )
    unknown = next((vocabulary[n] for n in UNKNOWN_NAMES if n in vocabulary), None)
    kind = "bpe" if rows else "characters"
    return Tokenizer(kind, pieces, tuple(rows), specials, unknown, name=where)


def read_llama(data: bytes, where: str) -> Tokenizer:
    """llama2.c's tokenizer.bin: pieces with scores, from which the merges follow."""
    pieces: list[bytes] = []
    scores: list[float] = []
    offset = 4  # the length of the longest piece, which we can see for ourselves
    while offset < len(data):
        if offset + 8 > len(data):
            raise TokenizerError(f"{where}: ends inside the head of piece {len(pieces)}")
        score, length = struct.unpack_from("<fi", data, offset)
        offset += 8
        if not 0 <= length <= len(data) - offset or not math.isfinite(score):
            raise TokenizerError(
                f"{where}: piece {len(pieces)} has length {length} and score {score}, but "
                f"{len(data) - offset} bytes are left"
            )
        pieces.append(data[offset : offset + length])
        scores.append(score)
        offset += length
    if not 4 <= len(pieces) <= MAX_VOCABULARY:
        raise TokenizerError(f"{where}: {len(pieces)} pieces, allowed is 4 to {MAX_VOCABULARY}")
    ids: dict[bytes, int] = {}
    for i, piece in enumerate(pieces):
        ids.setdefault(piece, i)
    order = {score: rank for rank, score in enumerate(sorted(set(scores), reverse=True))}
    merges = [
        Merge(ids[piece[:cut]], ids[piece[cut:]], i, order[scores[i]])
        for i, piece in enumerate(pieces)
        if ids[piece] == i and len(piece) <= 256
        for cut in range(1, len(piece))
        if piece[:cut] in ids and piece[cut:] in ids
    ]
    if len(merges) > MAX_MERGES:
        raise TokenizerError(f"{where}: {len(merges)} merges, at most {MAX_MERGES} are allowed")
    merges.sort(key=lambda merge: merge.rank)
    byte_names = [b"<0x%02X>" % b for b in range(256)]
    first = LLAMA_FIRST_BYTE if pieces[3:259] == byte_names else None
    for _, i in LLAMA_SPECIALS:
        pieces[i] = b""
    if first is not None:
        pieces[first : first + 256] = [bytes([b]) for b in range(256)]
    return Tokenizer(
        "bpe",
        tuple(pieces),
        tuple(merges),
        LLAMA_SPECIALS,
        unknown=0 if first is None else None,
        lead=ids.get(b" "),
        first_byte=first,
        name=where,
    )


READERS = {".json": read_json, ".bin": read_llama}

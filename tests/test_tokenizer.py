import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anachron.compiler.merges import format_vocabulary, learn_vocabulary
from anachron.compiler.tokenizer import (
    Merge,
    Tokenizer,
    TokenizerError,
    characters,
    digits,
    load_tokenizer,
)

SHARED = Path(__file__).parents[1] / ".." / "shared" / "models"
needs_models = pytest.mark.skipif(not SHARED.exists(), reason="../shared/models is not here")

PROGRAMS = Path(__file__).parents[1] / "programs"
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789.,?!' "

SMALL = {
    "vocab": {p: i for i, p in enumerate(["<UNK>", " ", "a", "b", "c", "ab", "bc", "abc"])},
    "merges": [["b", "c"], ["a", "b"], ["a", "bc"]],
}


def write_json(folder: Path, tree: object) -> Path:
    path = folder / "t.json"
    path.write_text(json.dumps(tree))
    return path


def write_llama(folder: Path, pieces: list[tuple[float, bytes]]) -> Path:
    path = folder / "t.bin"
    body = b"".join(struct.pack("<fi", score, len(p)) + p for score, p in pieces)
    path.write_bytes(struct.pack("<i", 8) + body)
    return path


def encode_on_machine(tokenizer: Tokenizer, line: bytes) -> list[int]:
    """The rule as a machine follows it: tables, bytes, one merge after the other."""
    tables = tokenizer.machine_tables()
    ids = [int(tables.characters[byte]) for byte in line]
    ids = [i for i in ids if i >= 0]
    if line and tables.lead >= 0:
        ids.insert(0, tables.lead)
    rows = {(int(a), int(b)): i for i, (a, b, _) in reversed(list(enumerate(tables.merges)))}
    while True:
        best, place = 1 << 30, -1
        for i, pair in enumerate(zip(ids, ids[1:], strict=False)):
            if pair in rows and tables.ranks[rows[pair]] < best:
                best, place = int(tables.ranks[rows[pair]]), i
        if place < 0:
            return ids
        ids[place : place + 2] = [int(tables.merges[rows[ids[place], ids[place + 1]]][2])]


def test_digits_are_their_values():
    assert digits(10).encode("0123456789") == list(range(10))


def test_digits_above_nine_are_letters():
    assert digits(16).encode("09af") == [0, 9, 10, 15]


def test_characters_without_a_token_are_dropped_and_reported():
    assert digits(10).encode("3 1-4") == [3, 1, 4]
    assert digits(10).remarks("3 1-4") == "' ' dropped, '-' dropped"


def test_upper_case_is_taken_as_lower_case_only_where_it_is_unknown():
    assert characters("abA").encode("aABb") == [0, 2, 1, 1]
    assert characters("abA").remarks("aABb") == "'B' taken as 'b'"


def test_an_unknown_character_becomes_the_unknown_token(tmp_path):
    tokenizer = load_tokenizer(write_json(tmp_path, SMALL))
    assert tokenizer.encode("a#é") == [2, 0, 0]
    assert tokenizer.remarks("a#") == "'#' taken as the unknown token"


def test_known_text_needs_no_remark():
    assert characters("ab").remarks("abba") == ""


def test_the_merge_of_lowest_rank_goes_first(tmp_path):
    tokenizer = load_tokenizer(write_json(tmp_path, SMALL))
    assert tokenizer.encode("abc ab") == [7, 1, 5]


def test_the_leftmost_of_equal_ranks_goes_first():
    pieces = (b"a", b"aa", b"aaa")
    merges = (Merge(0, 0, 1, 0), Merge(0, 1, 2, 1), Merge(1, 0, 2, 1))
    assert Tokenizer("bpe", pieces, merges).encode("aaaaa") == [1, 2]
    assert Tokenizer("bpe", pieces, merges[1:]).encode("aaa") == [0, 0, 0]


def test_special_tokens_print_nothing(tmp_path):
    assert load_tokenizer(write_json(tmp_path, SMALL)).decode([0, 7, 0, 1]) == "abc "


def test_decode_refuses_an_id_beyond_the_vocabulary():
    with pytest.raises(TokenizerError, match=r"token 10 is not in 0 \.\. 9"):
        digits(10).decode([10])


def test_scores_rank_merges_by_their_result(tmp_path):
    pieces = [(0.0, b"<unk>"), (0.0, b"<s>"), (0.0, b"</s>"), (-9.0, b" "), (-9.0, b"a")]
    pieces += [(-9.0, b"b"), (-2.0, b"ab"), (-1.0, b"ba"), (-3.0, b" a")]
    tokenizer = load_tokenizer(write_llama(tmp_path, pieces), 9)
    assert tokenizer.encode("aba") == [8, 7]
    assert tokenizer.encode("ab") == [3, 6]  # ab (-2) before " a" (-3)
    assert tokenizer.encode("") == []
    assert tokenizer.decode([1, 8, 7]) == "aba"
    assert tokenizer.decode([8, 7]) == " aba"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([1], "expected {"),
        ({"vocab": {"a": 0}}, "1 pieces, allowed is 2"),
        ({"vocab": {"a": 0, "b": 2}}, "the ids are not 0 .. 1"),
        ({"vocab": {"a": 0, "b": True}}, "the ids are not"),
        ({"vocab": {"a": 0, "b": 1}, "merges": [["a"]]}, "merge 0 is"),
        ({"vocab": {"a": 0, "b": 1}, "merges": [["a", "c"]]}, "'c', which is no piece"),
        ({"vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}, "'ab', which is no piece"),
        ({"vocab": {"a": 0, "b": 1}, "merges": 3}, "expected {"),
    ],
)
def test_a_faulty_vocabulary_is_one_clear_line(tmp_path, tree, message):
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(write_json(tmp_path, tree))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(TokenizerError, match="no such file"):
        load_tokenizer(tmp_path / "none.json")


def test_a_vocabulary_of_another_size_is_refused(tmp_path):
    with pytest.raises(TokenizerError, match="8 pieces, but the model's vocabulary has 9"):
        load_tokenizer(write_json(tmp_path, SMALL), 9)


@settings(deadline=None)
@given(data=st.binary(max_size=200), suffix=st.sampled_from([".bin", ".json"]))
def test_garbage_raises_nothing_but_a_tokenizer_error(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("t") / f"t{suffix}"
    path.write_bytes(data)
    try:
        load_tokenizer(path)
    except TokenizerError as error:
        assert "\n" not in str(error)


@settings(deadline=None)
@given(st.text(st.sampled_from("aAbcC #é…"), max_size=24))
def test_a_machine_with_the_tables_gives_the_same_ids(line):
    vocabulary = SMALL["vocab"]
    merges = tuple(
        Merge(vocabulary[a], vocabulary[b], vocabulary[a + b], rank)
        for rank, (a, b) in enumerate(SMALL["merges"])
    )
    for unknown in (0, None):
        pieces = (b"",) + tuple(p.encode() for p in list(vocabulary)[1:])
        tokenizer = Tokenizer("bpe", pieces, merges, (("<UNK>", 0),), unknown)
        assert encode_on_machine(tokenizer, line.encode()) == tokenizer.encode(line)


@needs_models
def test_soul_prompts_encode_as_that_project_does():
    tokenizer = load_tokenizer(SHARED / "soul_tokenizer.json", 128)
    for row in json.loads((SHARED / "soul_expected.json").read_text()):
        assert [1, *tokenizer.encode(row["prompt"]), 1] == row["ids"]
        assert tokenizer.decode(row["generated"]) == row["text"]
        assert encode_on_machine(tokenizer, row["prompt"].encode()) == row["ids"][1:-1]


@needs_models
def test_stories_encode_as_llama2c_does():
    tokenizer = load_tokenizer(SHARED / "tok512.bin", 512)
    for row in json.loads((SHARED / "stories_expected.json").read_text()):
        assert [1, *tokenizer.encode(row["prompt"])] == row["prompt_ids"]
        assert tokenizer.decode(row["tokens"]) == row["text"]
        text = row["text"].encode()
        assert encode_on_machine(tokenizer, text) == tokenizer.encode(row["text"])


@needs_models
def test_every_byte_has_a_token_where_there_is_a_byte_fallback():
    tokenizer = load_tokenizer(SHARED / "tok512.bin", 512)
    assert tokenizer.encode("\x01é") == [410, 3 + 1, tokenizer.characters["é"]]
    assert tokenizer.encode("ü") == [410, 3 + 0xC3, 3 + 0xBC]
    assert (tokenizer.machine_tables().characters >= 0).all()
    assert np.array_equal(tokenizer.machine_tables().characters[128:], np.arange(128, 256) + 3)


def test_the_pair_that_occurs_most_is_joined_first():
    vocabulary = learn_vocabulary("abab abc|xbc", 8, ["<S>"])
    assert list(vocabulary["vocab"]) == ["<S>", " ", "a", "b", "c", "x", "ab", "abab"]
    assert vocabulary["merges"] == [["a", "b"], ["ab", "ab"]]


def test_pieces_do_not_cross_words():
    vocabulary = learn_vocabulary("ab ab ab ab", 40)
    assert list(vocabulary["vocab"]) == [" ", "a", "b", "ab"]


def test_the_vocabulary_of_chat_is_learned_from_its_corpus():
    text = (PROGRAMS / "chat.txt").read_text()
    specials = ["<PAD>", "<SEP>", "<UNK>", "<END>"]
    vocabulary = learn_vocabulary(text, 128, specials, ALPHABET)
    assert format_vocabulary(vocabulary) == (PROGRAMS / "chat.json").read_text()


def test_every_line_of_the_corpus_of_chat_is_spelt_and_read_back():
    tokenizer = load_tokenizer(PROGRAMS / "chat.json", 128)
    for line in (PROGRAMS / "chat.txt").read_text().splitlines():
        for part in line.split(" | "):
            assert tokenizer.decode(tokenizer.encode(part)) == part
            assert tokenizer.unknown not in tokenizer.encode(part)

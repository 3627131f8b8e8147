"""What a prompt becomes: its ids between the template's, cut so that an answer has room.

Machines do the same by themselves; this is the meaning.
"""

from __future__ import annotations

from anachron.compiler.fixed import FixedModel


def encode_prompt(fixed: FixedModel, text: str) -> list[int]:
    """The ids that the model reads for a text.

    A decoder gets prefix + text + suffix; the text's ids are cut at the end so that at most
    seq_len - 1 ids go in, and at least one.  An encoder gets the text's ids, exactly seq_len of
    them.  ValueError otherwise.
    """
    ids = fixed.tokenizer.encode(text)
    generation = fixed.generation
    if generation.mode == "sequence":
        if len(ids) != fixed.seq_len:
            known = "".join(fixed.tokenizer.characters)
            raise ValueError(
                f"the input {text!r} has {len(ids)} token{'s' * (len(ids) != 1)}, {fixed.name} "
                f"takes {fixed.seq_len}: type as many of {known}"
            )
        return ids
    room = fixed.seq_len - 1 - len(generation.prefix) - len(generation.suffix)
    if not (ids or generation.prefix or generation.suffix):
        raise ValueError(f"the prompt {text!r} has no token of {fixed.name}'s vocabulary: type one")
    return [*generation.prefix, *ids[:room], *generation.suffix]


def explain_prompt(fixed: FixedModel, text: str) -> str:
    """One line about what was changed in a prompt: characters, length; empty if nothing."""
    notes = [fixed.tokenizer.remarks(text)]
    if fixed.generation.mode == "next":
        whole = len(fixed.tokenizer.encode(text))
        template = len(fixed.generation.prefix) + len(fixed.generation.suffix)
        kept = len(encode_prompt(fixed, text)) - template
        if kept < whole:
            notes.append(f"the first {kept} of {whole} tokens kept: the context is {fixed.seq_len}")
    return "; ".join(note for note in notes if note)


def typeable(fixed: FixedModel, prompt: str) -> str:
    """The prompt as the keys of an old machine can give it: ASCII that encodes to the same ids.

    A character beyond ASCII is left out where the tokenizer drops it, and stands as another
    unknown one where it is unknown; ValueError where it has an id of its own.
    """
    tokenizer = fixed.tokenizer
    keys = [chr(code) for code in range(33, 127)]
    typed = ""
    for character in prompt:
        ids = tokenizer.character_ids(character)
        if " " <= character <= "~":
            typed += character
        elif ids:
            key = next((key for key in keys if tokenizer.character_ids(key) == ids), None)
            if key is None:
                raise ValueError(f"{character!r} cannot be typed at a machine of this age")
            typed += key
    return typed

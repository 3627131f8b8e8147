"""Model -> program text, which language.py reads back to the same model.

Layers are written out one by one: the names of the nodes say which is which.

To add an op: nothing here; to add a line to the head: a few lines in `format_head`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from anachron.compiler.model import Model, Node
from anachron.compiler.ops import NEEDED, OPS
from anachron.compiler.tokenizer import Tokenizer

SIGNS = {"add": "+", "multiply": "*"}


def format_model(model: Model) -> str:
    """The text of a model, without its weights."""
    return "\n".join([*format_head(model), "", *format_graph(model)]) + "\n"


def format_head(model: Model) -> Iterator[str]:
    """What is said about the model before its graph."""
    yield f"model {model.name}" + (f" {quote(model.description)}" if model.description else "")
    yield "size " + join_settings(model.dimensions.items())
    yield f"tokenizer {format_tokenizer(model.tokenizer)}"
    if model.task:
        settings = [(k, v) for k, v in model.task.items() if k not in ("name", "length")]
        yield "task " + format_call(model.task["name"], settings)
    if model.recipe:
        settings = [(k, v) for k, v in model.recipe.items() if k != "optimizer"]
        yield "train " + format_call(model.recipe["optimizer"], settings)
    words = [(k, v) for k, v in model.numerics.items() if isinstance(v, int | float | str)]
    if words:
        yield "fixed " + ", ".join(f"{name} = {value}" for name, value in words)
    yield from format_generation(model)


def format_generation(model: Model) -> Iterator[str]:
    """prompt, stop and never."""
    generation = model.generation
    names = {i: name for name, i in model.tokenizer.specials}

    def spell(ids: Iterable[int]) -> str:
        return " ".join(quote(names.get(i) or model.tokenizer.decode([i])) for i in ids)

    if generation.prefix or generation.suffix:
        template = f"{spell(generation.prefix)} text {spell(generation.suffix)}"
        yield f"prompt {template.strip()}"
    if generation.stop:
        yield f"stop {spell(generation.stop)}"
    if generation.first_id:
        yield f"never {spell(range(generation.first_id))}"


def format_graph(model: Model) -> Iterator[str]:
    """A line a node."""
    owners: dict[str, str] = {}  # parameter -> the first node that has it
    for node in model.nodes:
        yield f"{node.name} = {format_node(node, owners)}"
        for name in node.parameters.values():
            owners.setdefault(name, node.name)


def format_node(node: Node, owners: dict[str, str]) -> str:
    """The expression of one node."""
    if node.op in SIGNS:
        return f" {SIGNS[node.op]} ".join(node.inputs)
    row = OPS[node.op]
    settings: list[tuple[str, Any]] = []
    words = list(node.inputs)
    for name, default in row.settings.items():
        value = node.attributes[name]
        if default is NEEDED:
            words.append(format_value(value))
        elif default is False:
            if value:
                words.append(name)
        else:
            settings.append((name, value))
    words += [f"{name} = {format_value(value)}" for name, value in settings]
    for role, name in node.parameters.items():
        if name in owners:
            words.append(f"{role} = {owners[name]}")
    return f"{node.op}({', '.join(words)})"


def format_tokenizer(tokenizer: Tokenizer) -> str:
    """The tokenizer as a text says it."""
    if tokenizer.kind == "digits":
        return "digits"
    if tokenizer.kind == "characters" and not tokenizer.name:
        return f"characters({quote(b''.join(tokenizer.pieces).decode())})"
    return f"bpe({quote(tokenizer.name)})"


def format_call(name: str, settings: Iterable[tuple[str, Any]]) -> str:
    inside = join_settings(settings)
    return f"{name}({inside})" if inside else name


def join_settings(settings: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} = {format_value(value)}" for name, value in settings)


def format_value(value: Any) -> str:
    """A number or a text as the language reads it."""
    if isinstance(value, str):
        return quote(value)
    return repr(int(value) if value == int(value) else value)


def quote(text: str) -> str:
    """A text in quotes."""
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(character, escape)
    return f'"{text}"'

"""Program text -> Program: the Model that it describes, and where its weights are.

    model reverse "turns eight digits around"
    size      dim = 16, seq_len = 8, vocab_size = 10
    tokenizer digits
    task      reverse
    train     sgd(steps = 350, rate = 1/8)

    x      = embed(token, dim) + embed(position, dim)
    y      = attention(linear(x, dim), linear(x, dim), linear(x, dim))
    logits = linear(x + y, vocab_size)

Here are the lines of the head; expressions.py reads the graph.

To add a line to the head: a rule in language.lark, a function here and its place in `parse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lark import Token, Tree

from anachron.compiler import tokenizer as tokenizers
from anachron.compiler.expressions import Graph
from anachron.compiler.model import Generation, Model, ModelError, Node, NodeError, check_graph
from anachron.compiler.numerics import Numerics
from anachron.compiler.ops import MAX_SIZE
from anachron.compiler.recipes import OPTIMIZERS, RECIPE, SEQUENCE_TASKS, TASKS
from anachron.compiler.syntax import Source, called, either, near
from anachron.compiler.tokenizer import Tokenizer

MAX_TEXT = 1 << 20
HINTS = ("exact", *(field.name for field in fields(Numerics)))
REPEATABLE = ("size", "fixed", "assign", "repeat")  # lines that may stand more than once
TOKENIZERS = {  # kind -> how it is written
    "digits": "digits",
    "characters": 'characters("abc")',
    "bpe": 'bpe("file")',
}


@dataclass(frozen=True)
class Program:
    """What a text says.

    model    without weights yet
    tensors  parameter -> the name that the text gives its tensor in the weights' file
    weights  the weights' file, where the text names one
    """

    model: Model
    tensors: Mapping[str, str]
    weights: str | None


def parse(
    text: str,
    file: str = "text",
    overrides: Mapping[str, int] | None = None,
    tokenizer: Tokenizer | None = None,
    folder: str = "",
) -> Program:
    """Read a program text.

    file       its name, for messages
    overrides  sizes that replace the text's
    tokenizer  replaces the text's
    folder     where the files that the text names are
    Raises ModelError (LanguageError where a place is known) or TokenizerError.
    """
    if len(text) > MAX_TEXT:
        raise ModelError(f"{file}: {len(text):,} characters, at most {MAX_TEXT:,} are allowed")
    source = Source(text, file)
    try:
        return _read(source, dict(overrides or {}), tokenizer, folder)
    except RecursionError:
        raise ModelError(f"{file}: an expression is nested too deeply") from None


def _read(
    source: Source, overrides: dict[str, int], tokenizer: Tokenizer | None, folder: str
) -> Program:
    """Sizes and tokenizer first: the graph needs them."""
    lines = [line for line in source.parse().children if isinstance(line, Tree)]
    said: dict[str, Tree] = {}
    for line in lines:
        if line.data in said and line.data not in REPEATABLE:
            raise source.at(line, f"{line.data} is said twice")
        said[str(line.data)] = line
    sizes = read_sizes(source, lines, overrides)
    if tokenizer is None:
        tokenizer = read_tokenizer(source, said.get("tokenizer"), sizes, folder)
    settle_sizes(source, sizes, tokenizer)
    graph = Graph(source, sizes)
    for line in lines:
        if line.data in ("assign", "repeat"):
            getattr(graph, line.data)(line)
    task = read_task(source, said["task"], sizes) if "task" in said else {}
    nodes = tuple(graph.nodes.values())
    generation = read_generation(source, said, tokenizer, task, nodes)
    try:
        shapes = check_graph(nodes, sizes, generation.mode)
    except NodeError as error:
        _, at_line, at_column = error.node.where.rsplit(":", 2)
        raise source.error(int(at_line), int(at_column), error.text) from None
    except ModelError as error:
        raise ModelError(f"{source.file}: {error}") from None
    name, description = read_title(source, said.get("model"))
    model = Model(
        name,
        MappingProxyType(sizes),
        nodes,
        MappingProxyType(shapes),
        MappingProxyType({}),
        tokenizer,
        generation,
        task,
        read_recipe(source, said["train"], graph, shapes) if "train" in said else {},
        read_numerics(source, lines, graph),
        "nowhere yet",
        description,
        folder,
    )
    weights = source.string(said["weights"].children[0]) if "weights" in said else None
    return Program(model, MappingProxyType(graph.tensors), weights)


def read_title(source: Source, line: Tree | None) -> tuple[str, str]:
    """model NAME "description"; without it, the file's name."""
    if line is None:
        return Path(source.file).stem, ""
    return str(line.children[0]), "".join(source.string(text) for text in line.children[1:])


def read_sizes(source: Source, lines: list[Tree], overrides: dict[str, int]) -> dict[str, int]:
    """size NAME = EXPRESSION, ...; each may use those above it."""
    sizes: dict[str, int] = {}
    arithmetic = Graph(source, sizes)
    settings = [s for line in lines if line.data == "size" for s in line.children]
    for setting in settings:
        name = str(setting.children[0])
        if name in sizes:
            raise source.at(setting, f"{name} is said twice")
        value = arithmetic.whole(setting.children[1]) if name not in overrides else overrides[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_SIZE:
            raise source.at(setting, f"{name} is {value}, allowed is 1 to {MAX_SIZE}")
        sizes[name] = value
    for name in overrides:
        if name not in sizes:
            raise ModelError(
                f"{source.file}: there is no size {name} to set{near(name, sizes)}; there are "
                f"{', '.join(sizes) or 'none'}"
            )
    return sizes


def read_tokenizer(
    source: Source, line: Tree | None, sizes: dict[str, int], folder: str
) -> Tokenizer:
    """tokenizer digits | characters("abc") | bpe("file"); digits without a line where they do."""
    vocab_size = sizes.get("vocab_size")
    if line is None:
        if vocab_size is None or vocab_size > len(tokenizers.DIGITS):
            raise ModelError(
                f"{source.file}: it does not say how text becomes tokens: add "
                f"`tokenizer` and {either(TOKENIZERS.values())}"
            )
        return tokenizers.digits(vocab_size)
    kind, arguments, settings = called(source, line.children[0])
    if kind not in TOKENIZERS:
        raise source.at(line.children[0], f"a tokenizer is {either(TOKENIZERS)}, not {kind}")
    if settings or len(arguments) != (kind != "digits"):
        raise source.at(line.children[0], f"write `tokenizer {TOKENIZERS[kind]}`")
    if kind == "digits":
        if vocab_size is None:
            raise source.at(line, "digits need to know how many: add `size vocab_size = 10`")
        return tokenizers.digits(vocab_size)
    if arguments[0].data != "string":
        raise source.at(arguments[0], f"write `tokenizer {TOKENIZERS[kind]}`")
    text = source.string(arguments[0].children[0])
    if kind == "characters":
        return tokenizers.characters(text)
    return replace(tokenizers.load_tokenizer(Path(folder) / text, vocab_size), name=text)


def settle_sizes(source: Source, sizes: dict[str, int], tokenizer: Tokenizer) -> None:
    """See that vocab_size and seq_len are there; the tokenizer gives the first where need be."""
    vocab_size = sizes.setdefault("vocab_size", tokenizer.vocab_size)
    if vocab_size != tokenizer.vocab_size:
        raise ModelError(
            f"{source.file}: vocab_size is {vocab_size}, but the tokenizer has "
            f"{tokenizer.vocab_size} pieces"
        )
    if "seq_len" not in sizes:
        raise ModelError(
            f"{source.file}: it does not say how long a sequence may be: add `size seq_len = 64`"
        )


def read_task(source: Source, line: Tree, sizes: dict[str, int]) -> dict[str, Any]:
    """task NAME(...): what the model is trained to do."""
    name, arguments, settings = called(source, line.children[0])
    if name not in TASKS:
        raise source.at(line.children[0], f"there is no task {name}; there are {either(TASKS)}")
    if arguments:
        raise source.at(arguments[0], f"write `task {name}({TASKS[name]} = ...)`")
    for word, part in settings.items():
        if word != TASKS[name]:
            raise source.at(part, f"task {name} has no {word}; it has {TASKS[name]}")
    if TASKS[name] == "corpus":
        corpus = settings.get("corpus")
        if corpus is None or corpus.data != "string":
            raise source.at(line, f'write `task {name}(corpus = "file.txt")`')
        return {"name": name, "corpus": source.string(corpus.children[0])}
    length = sizes["seq_len"]
    if "length" in settings and Graph(source, sizes).whole(settings["length"]) != length:
        raise source.at(settings["length"], f"a sequence is as long as seq_len, which is {length}")
    return {"name": name, "length": length}


def read_recipe(
    source: Source, line: Tree, graph: Graph, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """train OPTIMIZER(...); a parameter's name sets its own rate."""
    optimizer, arguments, settings = called(source, line.children[0])
    if optimizer not in OPTIMIZERS:
        raise source.at(line.children[0], f"an optimizer is {either(OPTIMIZERS)}, not {optimizer}")
    if arguments:
        raise source.at(arguments[0], f"write `train {optimizer}(steps = 350, rate = 1/8)`")
    recipe: dict[str, Any] = {"optimizer": optimizer}
    for name, part in settings.items():
        if name not in RECIPE and name not in shapes:
            raise source.at(
                part,
                f"{name} is no setting and no parameter{near(name, [*RECIPE, *shapes])}; "
                f"settings are {', '.join(RECIPE)}",
            )
        value = graph.plain(graph.number(part))
        if value <= 0 or not isinstance(value, RECIPE.get(name, (int, float))):
            whole = "whole number" if RECIPE.get(name) is int else "number"
            raise source.at(part, f"{name} is {value}, allowed is a {whole} above 0")
        recipe[name] = value
    return recipe


def read_numerics(source: Source, lines: list[Tree], graph: Graph) -> dict[str, Any]:
    """fixed NAME = NUMBER or WORD, ...: see numerics.py for the names."""
    numerics: dict[str, Any] = {}
    for line in lines:
        for setting in line.children if line.data == "fixed" else ():
            name, part = str(setting.children[0]), setting.children[1]
            if name in numerics:
                raise source.at(setting, f"{name} is said twice")
            if name not in HINTS:
                raise source.at(
                    setting,
                    f"there is no hint {name}{near(name, HINTS)}; there are {', '.join(HINTS)}",
                )
            is_word = part.data == "name"
            numerics[name] = str(part.children[0]) if is_word else graph.plain(graph.number(part))
    return numerics


def read_generation(
    source: Source,
    said: dict[str, Tree],
    tokenizer: Tokenizer,
    task: dict[str, Any],
    nodes: tuple[Node, ...],
) -> Generation:
    """prompt, stop, never: the template around a prompt, and when an answer ends."""

    def ids(strings: Iterable[Any]) -> tuple[int, ...]:
        return tuple(_find_token(source, token, tokenizer) for token in strings)

    causal = [node.attributes["causal"] for node in nodes if node.op == "attention"]
    whole = task["name"] in SEQUENCE_TASKS if task else bool(causal) and not any(causal)
    for word in ("prompt", "stop", "never"):
        if whole and word in said:
            raise source.at(
                said[word],
                f"{word} is for a model that predicts the next token; this one answers a whole "
                "sequence at once: leave it out, or write attention(..., causal)",
            )
    template = said["prompt"].children if "prompt" in said else ()
    prefix, suffix = (ids(part.children) for part in template) if template else ((), ())
    stop = ids(said["stop"].children) if "stop" in said else ()
    never = ids(said["never"].children) if "never" in said else ()
    if sorted(never) != list(range(len(never))):
        raise source.at(said["never"], "tokens that are never chosen are the first ids, each once")
    return Generation("sequence" if whole else "next", prefix, suffix, stop, len(never))


def _find_token(source: Source, token: Token, tokenizer: Tokenizer) -> int:
    """The id of a special token or of a piece."""
    text = source.string(token)
    special = dict(tokenizer.specials).get(text, tokenizer.characters.get(text))
    if special is not None:
        return special
    if text and text.encode() in tokenizer.pieces:
        return tokenizer.pieces.index(text.encode())
    raise source.at(token, f"{text!r} is not one token of this vocabulary")

"""A line of text into a statement, by a lark grammar that is asked once per shape of line.

A generated source has tens of thousands of lines and a few hundred shapes (`NAME MNEMONIC #
NUMBER`): what a grammar builds depends on the kinds of the tokens alone. So a line is cut into
tokens by the grammar's own terminals, and lark parses the first line of each shape; the tree
becomes a recipe that builds every later line of that shape from its tokens.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken

from anachron.compiler.assembly.errors import AssemblyError

MAX_NESTING = 200  # of brackets and operators in one expression

Found = tuple[str, int]  # a token's text and its column
Recipe = Callable[[list[Found]], Any]


class LineGrammar:
    """A lark grammar with a function for each of its rules.

    text      the grammar; its start rule is `start`
    actions   rule name -> function of what its parts built; a token builds (text, column)
    reserved  word in lower case -> the terminal it is instead of NAME
    words     terminal -> what a message calls it
    """

    def __init__(self, text: str, actions: Mapping[str, Callable[..., Any]],
                 reserved: Mapping[str, str], words: Mapping[str, str]) -> None:
        self._lark = Lark(text, parser="lalr", lexer="basic")
        self._actions, self._reserved, self._words = actions, reserved, words
        self._ignored = frozenset(self._lark.ignore_tokens)
        patterns = sorted(
            (t for t in self._lark.terminals if t.pattern.value),
            key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
        self._cut = re.compile("|".join(f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in patterns))
        self._recipes: dict[tuple[str, ...], Recipe] = {}

    def parse(self, text: str) -> Any:
        """What the grammar's start rule builds of a line; AssemblyError with the column."""
        kinds: list[str] = []
        found: list[Found] = []
        position, match = 0, self._cut.match
        while position < len(text):
            token = match(text, position)
            if token is None:
                raise AssemblyError(f"{text[position]!r} makes no sense here", position)
            kind = token.lastgroup or ""
            if kind not in self._ignored:
                word = token.group()
                if kind == "NAME":
                    kind = self._reserved.get(word.lower(), kind)
                kinds.append(kind)
                found.append((word, position))
            position = token.end()
        shape = tuple(kinds)
        recipe = self._recipes.get(shape)
        if recipe is None:
            recipe = self._recipes[shape] = self._learn(shape, found, len(text.rstrip()))
        return recipe(found)

    def _learn(self, shape: tuple[str, ...], found: list[Found], length: int) -> Recipe:
        parser = self._lark.parse_interactive()
        try:
            for index, (kind, (word, _)) in enumerate(zip(shape, found, strict=True)):
                parser.feed_token(Token(kind, word, start_pos=index))
            tree = parser.feed_eof()
        except UnexpectedToken as error:
            at_end = error.token.type == "$END"
            index = len(found) if at_end else int(error.token.start_pos or 0)
            word, column = ("the end of the line", length) if at_end else found[index]
            labelled = len(found) > 1 and found[1][0][0] in ":="
            if shape[:1] == ("NAME",) and (at_end or index <= 2) and not labelled:
                name, column = found[len(shape) > 2 and shape[1] == "NAME"]
                raise AssemblyError(f"{name} is not an instruction, a directive or a macro",
                                    column) from None
            expected = sorted({self._words[kind] for kind in error.accepts or error.expected
                               if kind in self._words})
            told = (f"expected {' or '.join(expected)}, found " if 0 < len(expected) <= 4
                    else "did not expect ")
            raise AssemblyError(told + (word if at_end else repr(word)), column) from None
        return self._recipe(tree, found, 0)

    def _recipe(self, part: Tree | Token | None, found: list[Found], depth: int) -> Recipe:
        if part is None:
            return lambda tokens: None
        if isinstance(part, Token):
            index = int(part.start_pos or 0)
            return lambda tokens: tokens[index]
        if depth > MAX_NESTING:
            raise AssemblyError(f"an expression of more than {MAX_NESTING} levels")
        action = self._actions[part.data]
        parts = [self._recipe(child, found, depth + 1) for child in part.children]
        if len(parts) == 1:
            only = parts[0]
            return lambda tokens: action(only(tokens))
        if len(parts) == 2:
            first, second = parts
            return lambda tokens: action(first(tokens), second(tokens))
        return lambda tokens: action(*[build(tokens) for build in parts])

"""Ending: finds in a handler's SQL the statement by which the turn's transaction would end, before it is sent.

It reads SQL as psql does: comments, quotes, dollar quotes, and function bodies between BEGIN ATOMIC and END.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_SUSPECT = re.compile(r"\b(?:commit|rollback|abort|begin|end|start|prepare)\b", re.IGNORECASE)
_TOKEN = re.compile(
    r"""
      \s+ | --[^\r\n]*
    | (?P<comment>/\*)
    | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$
    | (?P<word>[^\W\d][\w$]*)
    | (?P<mark>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT = re.compile(r"/\*|\*/")
_WORDS = 4
"""Words of a statement that tell what it is: `create or replace function`, `rollback work to savepoint`."""


@lru_cache(maxsize=512)
def ending_of(text: str) -> str | None:
    """Return the words by which one of the statements would end the transaction or begin another; None without one.

    Example:
        >>> ending_of("select 1; /* that is all */ Commit and chain")
        'COMMIT'
    """
    if not _SUSPECT.search(text):
        return None
    return next((found for words in _statements(text) if (found := _refused(words))), None)


def _refused(words: list[str]) -> str | None:
    match words:
        case ["rollback", "to", *_] | ["rollback", "work" | "transaction", "to", *_]:
            return None
        case ["commit" | "rollback" | "abort" | "begin" | "end" as word, *_]:
            return word.upper()
        case ["start" | "prepare" as word, "transaction", *_]:
            return f"{word.upper()} TRANSACTION"
        case _:
            return None


def _statements(text: str) -> Iterator[list[str]]:
    """Yield the first words of each statement, in lower case; none of one that begins with something else."""
    words: list[str] = []
    counted = parentheses = bodies = 0
    for part in _tokens(text):
        if part == "(":
            parentheses += 1
        elif part == ")":
            parentheses = max(0, parentheses - 1)
        elif part == ";" and not parentheses and not bodies:
            yield words
            words, counted = [], 0
            continue
        elif counted and not parentheses and words[:1] == ["create"] and {"function", "procedure"} & {*words[1:]}:
            bodies = _within(bodies, part)
        if counted < _WORDS and part.isidentifier() and counted == len(words):
            words.append(part)
        counted += 1
    yield words


def _within(bodies: int, word: str) -> int:
    """Return how deep the text is in a function's body after this word."""
    if word == "begin" or (word == "case" and bodies):
        return bodies + 1
    return bodies - 1 if word == "end" and bodies else bodies


def _tokens(text: str) -> Iterator[str]:
    """Yield words in lower case and single marks; of quoted text a mark, of comments and space nothing."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        assert found is not None
        place = found.end()
        if found["comment"]:
            place = _end_of_comment(text, place)
        elif found["word"]:
            yield found["word"].lower()
        elif found["mark"]:
            yield found["mark"]
        elif not found[0].isspace() and not found[0].startswith("--"):
            yield "'"


def _end_of_comment(text: str, place: int) -> int:
    """Comments nest."""
    depth = 1
    for mark in _COMMENT.finditer(text, place):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(text)

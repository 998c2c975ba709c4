"""Typed: what a person is told to type, which works as it is printed, whatever the ids are."""

from __future__ import annotations

import shlex


def typed(command: str, *words: str, workflow: str | None = None) -> str:
    """Return a command with these words behind it; `workflow` is said where the id alone does not say which run it is.

    Example:
        >>> typed("revenant run show", "o 1"), typed("revenant run show", "-5", workflow="order")
        ("revenant run show 'o 1'", 'revenant run show --workflow order -- -5')
    """
    given = [quoted(word) for word in words]
    which = [] if workflow is None else ["--workflow", quoted(workflow)]
    dashed = any(word.startswith("-") for word in words)
    return " ".join([command, *([*which, "--", *given] if dashed else [*given, *which])])


def quoted(word: str) -> str:
    """Return it as a shell reads it again, on one line."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\U{ord(char):08x}" if ord(char) > 127 else f"\\x{ord(char):02x}"

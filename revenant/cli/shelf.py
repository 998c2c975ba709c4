"""Shelf: the commands of a group, each imported when it is first asked for.

What one of them needs (the demos, the benchmarks, tables for the terminal) costs the others nothing at their start.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module

import click


class Shelf(MutableMapping[str, click.Command]):
    """What a `click.Group` takes as its commands: names, each of a command in the module `revenant.cli` has for it."""

    def __init__(self, *names: str) -> None:
        self._commands: dict[str, click.Command | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> click.Command:
        """Return a command; KeyError where there is none."""
        command = self._commands[name]
        if command is None:
            command = self._commands[name] = getattr(import_module(f"revenant.cli.{name}"), name)
        return command

    def __contains__(self, name: object) -> bool:
        """Whether there is a command of that name, without importing it."""
        return name in self._commands

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

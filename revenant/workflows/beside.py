"""Beside: what a workflow's code waits for side by side; type checkers know each part's result."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Literal, TypeVar, overload

from revenant.errors import ConfigurationError
from revenant.workflows.operation import Awaited, Gather, Part, Race

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Beside:
    """A part of `Flow`."""

    @overload
    def gather(
        self, a: Awaitable[A], b: Awaitable[B], /, *, return_exceptions: Literal[False] = ...
    ) -> Awaited[tuple[A, B]]: ...

    @overload
    def gather(
        self, a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], /, *, return_exceptions: Literal[False] = ...
    ) -> Awaited[tuple[A, B, C]]: ...

    @overload
    def gather(
        self,
        a: Awaitable[A],
        b: Awaitable[B],
        c: Awaitable[C],
        d: Awaitable[D],
        /,
        *,
        return_exceptions: Literal[False] = ...,
    ) -> Awaited[tuple[A, B, C, D]]: ...

    @overload
    def gather(self, *parts: Awaitable[A], return_exceptions: Literal[False] = ...) -> Awaited[list[A]]: ...

    @overload
    def gather(self, *parts: Awaitable[Any], return_exceptions: Literal[True]) -> Awaited[list[Any]]: ...

    def gather(self, *parts: Any, return_exceptions: bool = False) -> Awaited[Any]:
        """Wait for all of these, side by side: operations, and coroutines of your own that await operations.

        Returns a list of their results, in their order; as with `asyncio.gather`, type checkers see a tuple of a few.
        The first that raises cancels the others, unless `return_exceptions` wants errors among the results.
        """
        return Gather(parts, return_exceptions=return_exceptions)

    def race(self, *parts: Part) -> Awaited[tuple[int, Any]]:
        """Wait for the first of these; return its place, from 0, and its value. The others are cancelled."""
        if not parts:
            raise ConfigurationError("flow.race() got nothing to wait for. Give it two operations or more.")
        return Race(parts)

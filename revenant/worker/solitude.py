"""Solitude: the turns of one process run in company, but for a suspect's, beside which no other runs.

Invariant: whoever is alone has waited for all that were inside, and nobody comes in before it has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Solitude:
    """Many at a time, or one alone. Company costs a count where nobody is alone, or wants to be."""

    def __init__(self) -> None:
        self.company = _Company()
        """Entered (`async with`) by a turn that does not mind others; again and again, by any number at a time."""
        self._turns = asyncio.Lock()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run the body while nobody else is inside; before those who wait for company."""
        company = self.company
        company.keep_out()
        try:
            async with self._turns:
                await company.leaves()
                yield
        finally:
            company.let_in()


class _Company:
    def __init__(self) -> None:
        self._inside = 0
        self._kept_out = 0
        """How many want to be alone, or are."""
        self._may_enter = asyncio.Event()
        self._may_enter.set()
        self._empty = asyncio.Event()

    async def __aenter__(self) -> None:
        while self._kept_out:
            await self._may_enter.wait()
        self._inside += 1

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    def keep_out(self) -> None:
        self._kept_out += 1
        self._may_enter.clear()

    def let_in(self) -> None:
        self._kept_out -= 1
        if not self._kept_out:
            self._may_enter.set()

    async def leaves(self) -> None:
        while self._inside:
            self._empty.clear()
            await self._empty.wait()

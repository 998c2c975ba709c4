"""Door: lets so many through at a time, and nobody any more once the worker drains.

Invariant: each place that was taken is given back once, whatever becomes of who waited for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Draining(BaseException):
    """This worker takes nothing new, and what happens now says nothing about anybody."""


class Door:
    """Lets so many through at a time."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)

    async def enter(self, closed: asyncio.Event) -> Callable[[], None]:
        """Go through when there is room; return what lets the next one in, safe twice.

        Raises:
            Draining: `closed` is set.
        """
        waiting = asyncio.create_task(self._places.acquire())
        told = asyncio.create_task(closed.wait())
        try:
            await asyncio.wait({waiting, told}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._refuse(waiting)
            raise
        finally:
            told.cancel()
        if closed.is_set():
            self._refuse(waiting)
            raise Draining
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._places.release()

        return leave

    def _refuse(self, waiting: asyncio.Task[Any]) -> None:
        if not waiting.cancel():
            self._places.release()

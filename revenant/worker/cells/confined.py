"""ConfinedAttempt: one attempt that runs in a cell, as its worker sees it: with others, and alone if that dies.

Invariant: it is told of as a death only where the cell that died had run nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from revenant.worker.cells.cell import Gone, Room
from revenant.worker.cells.cells import Cells, Deaths, KilledCell
from revenant.worker.cells.door import Draining
from revenant.worker.doing import Waiting
from revenant.worker.runs.appending import Append
from revenant.worker.runs.came import Came
from revenant.worker.runs.holding import Holding
from revenant.worker.runs.stage import Staged
from revenant.workflows.draft import Start

CANCEL_SECONDS = 1.0
"""What a cancelled attempt gets to clean up before it is left to itself, or killed with a cell of its own."""
AGAIN_SECONDS = 5.0
"""After a cell could not make anything of the run: it is read again then."""


class Confinement(NamedTuple):
    """Where such attempts run, and who holds their runs while they commit SQL of their own."""

    cells: Cells
    holding: Holding


class ConfinedAttempt:
    """One attempt, in the current task."""

    def __init__(
        self,
        *,
        staged: Staged,
        start: Start,
        confinement: Confinement,
        deaths: Deaths,
        tell: Callable[[Came], None],
        say: Callable[[Staged, int, int, str], None],
    ) -> None:
        self._staged = staged
        self._start = start
        self._cells = confinement.cells
        self._holding = confinement.holding
        self._deaths = deaths
        self._tell = tell
        self._say = say
        self._part: Append | None = None
        """What the cell is to append, or has appended, in a transaction of its own."""

    async def run(self) -> None:
        """Run it, and tell what it came to; a worker that drains leaves it to the next one, and tells nothing."""
        try:
            came = await self._outcome()
        except Draining:
            return
        if came is not None:
            self._tell(came)

    async def _outcome(self) -> Came | None:
        """Return what it came to; None: nobody waits for it any more."""
        while self._deaths.fate is None:
            address = self._staged.live.address
            self._cells.waiting[self] = Waiting(address.kind, address.key, time.monotonic())
            try:
                return await self._cells.run_once(self._in, self._deaths)
            except (Gone, KilledCell):
                if self._part is not None:
                    # It may have committed: the run is read again, and if it has not, the death counts as any other.
                    return self._came(lost=True)
            finally:
                self._cells.waiting.pop(self, None)
        return self._came(death=self._deaths.fate)

    async def _in(self, room: Room) -> Came | None:
        """Run it there, and return what it came to; None: nobody waits for it any more.

        Raises:
            Gone: the cell is.
        """
        self._cells.waiting.pop(self, None)
        start = self._start
        await room.tell(attempt=[*self._staged.live.address, start.op, start.attempt])
        try:
            while True:
                match await room.hear():
                    case {"said": text}:
                        self._say(self._staged, start.op, start.attempt, text)
                    case {"hold": result}:
                        self._part = await self._holding.hold(self._staged, start.op, start.attempt, result)
                        await room.tell(part=None if self._part is None else _told(self._part))
                    case {"came": came}:
                        return self._heard(came)
                    case {"gone": _}:
                        await asyncio.sleep(AGAIN_SECONDS)
                        return self._came(lost=True)
        except asyncio.CancelledError:
            await self._cancel(room)
            raise

    def _heard(self, came: dict[str, Any]) -> Came | None:
        """Return what it came to; None: nobody waits for it any more."""
        if came["denied"]:
            return None
        part = self._part
        if came["committed"] and part is not None:
            part.committed()
            return self._came(event=part.draft.events[0])
        return self._came(came["result"], came["error"], retryable=came["retryable"], lost=came["lost"])

    async def _cancel(self, room: Room) -> None:
        """Have it end: where others are, a thread that goes on is left to itself, as in a worker."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await room.tell(cancel=True)
                while "came" not in await room.hear():
                    pass
        except (TimeoutError, Gone):
            pass  # nobody waits for it any longer

    def _came(
        self, result: Any = None, error: dict[str, Any] | None = None, *, retryable: bool = False, **more: Any
    ) -> Came:
        return Came(self._staged, self._start.op, self._start.attempt, result, error, retryable, **more)


def _told(part: Append) -> dict[str, Any]:
    """Return what a cell is to append, as JSON holds it."""
    write = part.write._replace(digest=b"")
    return {"write": [*write], "digest": part.write.digest.hex(), "event": [*part.draft.events[0]]}

"""Runs one case: starts its workflow, does to it what the case says, and notes what is committed; in memory, or served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from revenant import RunFailed, Workflow
from revenant.testing import MemoryApp, ServedApp
from revenant.worker.runs.appending import Append
from tests.conformance.translation import IDLE, Noted, Translation

START = datetime(2026, 1, 1, tzinfo=UTC)
_FAR = datetime(2100, 1, 1, tzinfo=UTC)
Appends = Callable[[Any, Sequence[Append]], Awaitable[Any]]


def noting(append: Appends, noted: list[Noted | str]) -> Appends:
    """Return an archive's `append` that notes the events, in the order in which they are committed."""

    async def append_and_note(archive: Any, parts: Sequence[Append]) -> Any:
        # Before: when it returns, others may have seen it, and gone on.
        noted.extend(Noted(part.write.key, event) for part in parts for event in part.draft.events)
        return await append(archive, parts)

    return append_and_note


class Scene:
    """One execution; `noted` is what its application's archive notes."""

    def __init__(self, app: MemoryApp | ServedApp, workflow: Workflow[Any, Any], noted: list[Noted | str]) -> None:
        self._app = app
        self._workflow = workflow
        self._noted = noted

    async def play(self, given: Any, actions: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """Play it to its end, and return how it has ended, and with what."""
        run = await self._app.start(self._workflow.name, given, id="execution")
        await self._rest()
        left = list(actions)
        while (action := self._next(left)) is not None:
            left.remove(action)
            await self._app.clock.advance(timedelta(seconds=action.get("Delay", 0)))
            outcome = "success" if action["Operation"] == "success" else "failure"
            await run.signal(action["CallbackName"], {outcome: action["Payload"]})
            await self._rest()
        while (due := await self._app.next_due(_FAR)) is not None:
            await self._app.clock.advance(due - self._app.clock.now)
            await self._rest()
        try:
            return "SUCCEEDED", await run.result()
        except RunFailed as error:
            return "FAILED", str(error)

    def _next(self, actions: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the action that is about the callback which was created first."""
        waits = [one.event for one in self._noted if isinstance(one, Noted) and one.event.type == "wait.started"]
        names = [wait.data["name"] for wait in waits]
        ready = [action for action in actions if action["CallbackName"] in names]
        return min(ready, key=lambda action: names.index(action["CallbackName"]), default=None)

    async def _rest(self) -> None:
        await self._app.run_until_idle()
        if self._noted and self._noted[-1] != IDLE:
            self._noted.append(IDLE)

    def history(self) -> list[dict[str, Any]]:
        """Return what happened, in the words of the published histories."""
        return Translation(root="execution").translate(self._noted)

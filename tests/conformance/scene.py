"""Runs one case: starts its workflow in memory, does to it what the case says, and notes what is committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from revenant import RunFailed, Workflow
from revenant.testing import MemoryApp, memory_app
from revenant.worker.appending import Append
from tests.conformance.translation import IDLE, Noted, Translation

_FAR = datetime(2100, 1, 1, tzinfo=UTC)


class Scene:
    """One execution."""

    def __init__(self, workflow: Workflow[Any, Any], contexts: Sequence[Workflow[Any, Any]]) -> None:
        self._workflow = workflow
        self._app: MemoryApp = memory_app(workflows=[workflow, *contexts], now=datetime(2026, 1, 1, tzinfo=UTC))
        self._noted: list[Noted | str] = []
        archive = self._app._runs._archive
        append = archive.append

        async def append_and_note(parts: Sequence[Append]) -> Any:
            told = [Noted(part.write.key, event) for part in parts for event in part.draft.events]
            done = await append(parts)
            self._noted += told
            return done

        archive.append = append_and_note  # type: ignore[method-assign]  # what is committed is noted in its order

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

"""Inside: what goes on in a cell: it is told which attempts to run, reads their runs, and tells what they came to.

Invariant: it ends with its worker, whatever its code does to the event loop; it records nothing by itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from datetime import datetime
from functools import partial
from typing import Any

from pydantic_core import from_json

from revenant.config import Settings
from revenant.offspring import end_offspring
from revenant.queue.records import Hint
from revenant.queue.runs import UNKNOWN, RunWrite
from revenant.worker.cells.cell import ALIVE_SECONDS
from revenant.worker.cells.channel import Channel
from revenant.worker.fleet import Fleet
from revenant.worker.runs.admitting import Admitting
from revenant.worker.runs.appending import Append
from revenant.worker.runs.archive import PostgresArchive
from revenant.worker.runs.attempt import RunningAttempt
from revenant.worker.runs.came import Came
from revenant.worker.runs.stage import Staged
from revenant.worker.runs.threads import Threads
from revenant.worker.watchdog import Watchdog
from revenant.workflows.advancing import advance
from revenant.workflows.attempts import function_of, is_current
from revenant.workflows.draft import Draft, Start
from revenant.workflows.events import RUN_CONTINUED, Event
from revenant.workflows.operation import StepOperation, UndoOperation
from revenant.workflows.registry import Workflows

log = logging.getLogger("revenant.cell")
PROBATION_SECONDS = 0.1
"""How long whoever enters is the latest there: what kills does so soon, as a rule."""
BROKEN = 1
"""Exit code of a cell whose event loop was ended by what ran there."""
LOOK_SECONDS = 0.5
"""How often to look whether the worker is there."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG, of Linux' prctl."""


def die_with(parent: int) -> None:
    """See to it that this process ends when its parent does, from now on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    threading.Thread(target=_look_after, args=(parent,), name="revenant-parent", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        # What is sent to all processes of a service is for the worker, which drains. No SIG_IGN: a step's own
        # processes would inherit that.
        signal.signal(number, lambda *_: None)


def _look_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(0)


class Inside:
    """Hears what its worker wants to have run; made inside the running event loop."""

    def __init__(self, *, channel: Channel, workflows: Workflows, settings: Settings, url: str, worker: str) -> None:
        self._channel = channel
        self._settings = settings
        self._archive = PostgresArchive(url=url, role="cell", worker=worker, settings=settings)
        self._reading = asyncio.Lock()
        self._admitting = Admitting(workflows=workflows, settings=settings, fleet=Fleet(own_id=worker))
        self._threads = Threads(most=settings.step_threads)
        self._rooms: dict[int, asyncio.Task[None]] = {}
        self._asked: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        """By room, what is to be appended there, once the worker says it."""
        self._running: dict[int, str] = {}

    async def serve(self) -> None:
        """Serve until the worker hangs up."""
        end_offspring()
        watchdog = Watchdog(handler_timeout=self._settings.handler_timeout, running=self._says)
        watchdog.start()
        await self._channel.send({"ready": os.getpid()})
        self._say_alive()
        while (told := await self._channel.receive()) is not None:
            room = told["room"]
            match told:
                case {"attempt": [bucket, kind, key, op, attempt]}:
                    self._enter(room, self._attempt(room, Hint(bucket, kind, key, 1), Start(op, attempt)))
                case {"probe": [bucket, kind, key]}:
                    self._enter(room, self._probe(room, Hint(bucket, kind, key, 1)))
                case {"part": part} if room in self._asked:
                    self._asked.pop(room).set_result(part)
                case {"cancel": _} if room in self._rooms:
                    self._rooms[room].cancel()

    def _say_alive(self) -> None:
        self._channel.post({"room": 0})
        asyncio.get_running_loop().call_later(ALIVE_SECONDS, self._say_alive)

    def _enter(self, room: int, running: Coroutine[Any, Any, None]) -> None:
        # It is on its way before the first thing is read that is about a run.
        self._channel.post({"room": room, "begun": True})
        task = self._rooms[room] = asyncio.create_task(running, name=f"revenant-room-{room}")
        task.add_done_callback(partial(self._left, room))
        asyncio.get_running_loop().call_later(PROBATION_SECONDS, self._settle, room)

    def _settle(self, room: int) -> None:
        if room in self._rooms:
            self._channel.post({"room": room, "settled": True})

    def _says(self) -> str:
        return ", ".join(self._running.values()) or "nothing"

    def _left(self, room: int, task: asyncio.Task[None]) -> None:
        self._rooms.pop(room, None)
        self._asked.pop(room, None)
        self._running.pop(room, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("What runs in a cell failed in a way that it should not.", exc_info=error)
            if not isinstance(error, Exception):
                # As in a worker, what ends the event loop is a death, and not something that is tried again for ever.
                os._exit(BROKEN)
            self._channel.post({"room": room, "gone": True})

    async def _probe(self, room: int, hint: Hint) -> None:
        """Take a run on as its worker would, in memory: its code is run as far as it goes."""
        self._running[room] = f"the code of {hint.kind}({hint.key!r})"
        staged = await self._read(hint, messages=True)
        try:
            while staged is not None:
                advance(staged.live)
                events = staged.live.draft.events
                fresh = bool(events) and events[-1].type == RUN_CONTINUED
                staged = self._admitting.begin_anew(staged, now=self._archive.now()) if fresh else None
        except Exception:
            log.debug("The run does not go on in a cell; its worker finds out what that means.", exc_info=True)
        await self._channel.send({"room": room, "stood": True})

    async def _attempt(self, room: int, hint: Hint, start: Start) -> None:
        staged = await self._read(hint)
        operation = None
        if staged is not None and is_current(staged.live, start.op, start.attempt) is not None:
            operation = function_of(staged.live, start.op)
        if staged is None or operation is None:
            await self._channel.send({"room": room, "gone": True})
            return
        self._running[room] = f"attempt {start.attempt} of step {operation.step.name} of {hint.kind}({hint.key!r})"
        came = await self._run(room, staged, start, operation)
        # What it said last is on its way to the loop, and comes first.
        await asyncio.sleep(0)
        if came is not None:
            _go_on(came)
        await self._channel.send({"room": room, "came": _told(came)})

    async def _run(
        self, room: int, staged: Staged, start: Start, operation: StepOperation[Any] | UndoOperation
    ) -> Came | None:
        """Run the attempt, and return what it came to; None: nobody waits for it any more."""
        staged.tasks[start.op] = self._rooms[room]
        heard: list[Came] = []
        transacts = isinstance(operation, StepOperation) and operation.transaction
        running = RunningAttempt(
            staged=staged, start=start, operation=operation, limit=self._settings.max_bytes,
            tell=lambda came, *_: heard.append(came), say=partial(self._say, room),
            within=(self._archive.transacting, _Remote(partial(self._ask, room))) if transacts else None,
            alone=partial(self._alone, (staged.live.run, start.op, start.attempt)),
        )  # fmt: skip
        try:
            await running.run(self._threads)
        except asyncio.CancelledError:
            self._channel.post({"room": room, "came": _told(None)})
            raise
        return heard[0] if heard else None

    async def _alone(self, which: Hashable) -> None:
        """Wait until a thread has ended in which the same attempt was left to itself."""
        if (left := self._threads.left(which)) is not None:
            await asyncio.wait({left})

    async def _ask(self, room: int, result: Any) -> dict[str, Any] | None:
        """Return what is to be appended for a result, as the worker says; None: nobody waits for it."""
        answer = self._asked[room] = asyncio.get_running_loop().create_future()
        await self._channel.send({"room": room, "hold": result})
        told: dict[str, Any] | None = await answer
        return told

    async def _read(self, hint: Hint, *, messages: bool = False) -> Staged | None:
        """Return a run as its events say, its code taken along them; None: nothing can be made of it here."""
        async with self._reading:
            (visited,) = await self._archive.visit([hint], [UNKNOWN], forced=[True], formats=[None])
        if not messages:
            visited.deliveries = []
        try:
            return self._admitting.admit(hint, visited, None, now=self._archive.now())
        except Exception:
            log.exception("Run %s(%r) cannot be read in a cell.", hint.kind, hint.key)
            return None
        finally:
            # What is to be answered, the worker answers.
            self._admitting.take_late()

    def _say(self, room: int, staged: Staged, op: int, _: int, text: str) -> None:
        staged.progress[op] = from_json(text)
        self._channel.post({"room": room, "said": text})


class _Remote:
    """Has the worker hold a run while an attempt commits in a cell."""

    def __init__(self, ask: Callable[[Any], Awaitable[dict[str, Any] | None]]) -> None:
        self._ask = ask

    async def hold(self, staged: Staged, op: int, attempt: int, result: Any) -> Append | None:
        """Return what the attempt is to append; None: nobody waits for it."""
        told = await self._ask(result)
        if told is None:
            return None
        seq, type, number, at, data = told["event"]
        write = RunWrite(*told["write"])._replace(digest=bytes.fromhex(told["digest"]))
        return Append(staged, Draft(events=[Event(seq, type, number, datetime.fromisoformat(at), data)]), write)


def _go_on(came: Came) -> None:
    """Take the run's code on with what the attempt came to, in memory: should that end a process, it is this one."""
    try:
        came.take_in()
        advance(came.staged.live)
    except Exception:
        log.debug("The run does not go on in a cell; what that means is found out by its worker.", exc_info=True)


def _told(came: Came | None) -> dict[str, Any]:
    """Return what an attempt came to, as JSON holds it."""
    if came is None:
        return {"denied": True}
    return {
        "denied": False, "committed": came.event is not None, "lost": came.lost,
        "result": came.result, "error": came.error, "retryable": came.retryable,
    }  # fmt: skip

"""Storm: many runs of any shape under random messages while their workers are shot; afterwards all of it must be true."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from revenant.app import Revenant
from revenant.client.run import Run
from revenant.errors import Nondeterministic, RevenantError
from revenant.testing import replay
from revenant.workflows import events as e
from revenant.workflows.events import ENDS, Event, read_event
from tests.tempest import NAMES, WORKFLOWS, Bodies
from tests.tools import rows, value

Connection = psycopg.AsyncConnection[Any]
EXPECTED = {
    "tests.tempest.Refused", "revenant.errors.StepFailed", "revenant.errors.WaitTimeout", "revenant.errors.RunFailed",
    "revenant.errors.HandlerError", "RunTimeout",
}  # fmt: skip
"""What runs of this storm may fail by."""
_MOSTLY = (*[WORKFLOWS[0]] * 4, WORKFLOWS[1])
_CLAIM = "select token::text, args from revenant.claim_step('outside', 'a storm', 1)"
OPEN = "select kind, key, status from revenant.run_heads where ended_at is null"


class Storm:
    """One storm over one database."""

    def __init__(
        self, app: Revenant, connection: Connection, chance: random.Random, *, kills: bool = False, first: int = 0
    ) -> None:
        self._app = app
        self._connection = connection
        self._chance = chance
        self._bodies = Bodies(chance, kills=kills, accounts=[f"{name}{first}" for name in "xy"])
        self._count = first

    async def blow(self, *, runs: int, width: int, messages: int) -> None:
        """Start so many runs, so many at a time, each under so many messages."""
        left = asyncio.Semaphore(width)
        plans = [
            (self._chance.choice(_MOSTLY), self._bodies.run(), [self._message() for _ in range(messages)])
            for _ in range(runs)
        ]
        await asyncio.gather(*(self._one(left, *plan) for plan in plans))

    async def take(self) -> None:
        """Do what is to be done outside, for ever: well, badly, or not at all."""
        while True:
            for token, args in await rows(self._connection, _CLAIM):
                fate = self._chance.random()
                # It may have been cancelled meanwhile.
                with suppress(psycopg.errors.Error):
                    if fate < 0.7:
                        await rows(self._connection, "select revenant.complete_step(%s::uuid, %s)", token, str(args[0]))
                    elif fate < 0.9:
                        await rows(self._connection, "select revenant.fail_step(%s::uuid, 'for a test')", token)
            await asyncio.sleep(0.05)

    def _message(self) -> tuple[float, Callable[[Run[Any]], Awaitable[Any]]]:
        name, id = self._chance.choice(NAMES), self._chance.choice([None, "1", "2"])
        version = self._chance.choice([1, 2])
        sent: Callable[[Run[Any]], Awaitable[Any]] = self._chance.choice([
            *[lambda run: run.signal(name, 1, id=id, timeout=20)] * 4,
            *[lambda run: run.update(name, 2, id=id, timeout=1)] * 3,
            *[lambda run: run.approve(name, by="ann", timeout=20)] * 2,
            lambda run: run.reject(name, by="bob", timeout=20),
            *[lambda run: run.park("for a test", timeout=20)] * 2,
            *[lambda run: run.resume(timeout=20)] * 3,
            *[lambda run: run.requeue(timeout=20)] * 2,
            *[lambda run: run.migrate(version, timeout=20)] * 2,
            *[lambda run: run.cancel("for a test", timeout=20)] * (self._chance.random() < 0.5),
        ])  # fmt: skip
        return self._chance.choice([0.0, 0.0, 0.01, 0.05, 0.2, 0.5]), sent

    async def _one(self, left: asyncio.Semaphore, workflow: Any, body: Any, messages: list[Any]) -> None:
        self._count += 1
        id = f"r{self._count}"
        async with left:
            run = await self._app.start(workflow, body, id=id, timeout=180)
            told = []
            for pause, send in messages:
                await asyncio.sleep(pause)
                told.append(asyncio.create_task(_quietly(send(run))))
            await asyncio.gather(*told)

    async def settle(self, *, patience: float) -> None:
        """Have all runs end: by what they wait for, and by being cancelled once that has had its time."""
        waited = 0.0
        while found := await rows(self._connection, OPEN):
            asked: list[Awaitable[Any]] = []
            for kind, key, status in found:
                run = self._app.run(kind.removeprefix("run:"), key)
                if waited > patience:
                    asked.append(run.cancel("the storm is over", timeout=5))
                elif status == "parked":
                    asked.append(run.resume(timeout=5))
                else:
                    for name in NAMES:
                        asked += [run.signal(name, 3, timeout=5), run.update(name, 3, timeout=1)]
                        asked += [run.approve(name, by="eve", timeout=5)]
            await asyncio.gather(*(_quietly(one) for one in asked[:400]))
            await asyncio.sleep(0.3)
            waited += 0.3
            assert waited < patience + 60, f"runs that do not end: {await rows(self._connection, OPEN)}"
        # What was sent at the end is refused in its own time.
        for _ in range(100):
            if not await value(self._connection, "select count(*) from revenant.messages"):
                return
            await asyncio.sleep(0.2)


async def _quietly(sent: Awaitable[Any]) -> None:
    try:
        await sent
    except RevenantError:
        pass  # it came too early, too late, or makes no sense: what it may not do is looked at afterwards


class Aftermath:
    """What is in the database, and outside, once all runs have ended; each finding is a promise that was broken."""

    def __init__(self, connection: Connection, effects: Path, *, first: int = 0) -> None:
        self._connection = connection
        self._accounts = (f"x{first}", f"y{first}")
        self._files = list(effects.iterdir())
        self._effects = Counter(tuple(path.name.split(".")[:2]) for path in self._files if "." in path.name)
        self.findings: list[str] = []
        self.streams: dict[str, list[Event]] = {}
        self.keys: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    async def look(self) -> list[str]:
        """Return what is wrong."""
        await self._read()
        for table in ("run_tasks", "run_progress", "run_snapshots"):
            if count := await value(self._connection, f"select count(*) from revenant.{table}"):
                self._find(table, f"{count} rows are left")
        for table in ("messages", "scheduled"):
            for row in await rows(self._connection, f"select * from revenant.{table} where starts_with(kind, 'run:')"):
                self._find(table, f"is left: {row}")
        heads = await rows(self._connection, "select key, run::text, seq, status, owner, waits from revenant.run_heads")
        for head in heads:
            self._head(*head)
        for stream in self.streams:
            before = len(self.findings)
            self._stream(stream)
            if len(self.findings) > before:
                self._find(
                    stream, "\n".join(f"{one.seq} {one.type} {one.op} {one.text}" for one in self.streams[stream])
                )
        await self._sums()
        self.counts = Counter(one.type for events in self.streams.values() for one in events)
        return self.findings

    def forget(self) -> None:
        """Remove what was left outside."""
        for path in self._files:
            path.unlink()

    async def _read(self) -> None:
        found = await rows(
            self._connection, "select run::text, seq, type, op, at, data from revenant.run_events order by run, seq"
        )
        for run, seq, type, op, at, data in found:
            told = {"seq": seq, "type": type, "op": op, "at": at, "data": data}
            self.streams.setdefault(run, []).append(read_event(told))
        for key, run in await rows(self._connection, "select key, run::text from revenant.run_heads"):
            stream: str | None = run
            while stream is not None:
                self.keys[stream] = key
                stream = self.streams[stream][0].data.get("continues")

    def _find(self, where: str, what: str) -> None:
        self.findings.append(f"{where}: {what}")

    def _head(self, *head: Any) -> None:
        key, run, seq, status, owner, waits = head
        last = self.streams[run][-1]
        if (last.seq, ENDS.get(last.type)) != (seq, status):
            self._find(key, f"its row says {status} at {seq}, its stream ends with {last.type} at {last.seq}")
        if owner is not None or waits:
            self._find(key, f"it has ended, and has owner {owner} and waits for {waits}")

    def _stream(self, stream: str) -> None:
        events, key = self.streams[stream], self.keys.get(stream, "nobody's")
        where = f"{key} ({stream})"
        if [one.seq for one in events] != list(range(1, len(events) + 1)):
            self._find(where, "its numbers have gaps")
        ends = [one for one in events if one.type in (*ENDS, e.RUN_CONTINUED)]
        if [one.seq for one in ends] != [len(events)]:
            self._find(where, f"it ends by {[(one.seq, one.type) for one in ends]} of {len(events)} events")
        for one in events:
            if one.type == e.RUN_BLOCKED:
                self._find(where, f"it was blocked: {one.data['reason']}")
        error = events[-1].data.get("error") or {}
        if events[-1].type == e.RUN_FAILED and error.get("type") not in EXPECTED:
            self._find(where, f"it failed by {error.get('type')}: {error.get('message')} {error.get('traceback')}")
        self._steps(where, events)
        self._undos(where, events)
        self._replay(where, stream, key)

    def _steps(self, where: str, events: list[Event]) -> None:
        moves = sum(one.type in (e.RUN_RECOVERED, e.RUN_RELEASED, e.RUN_TAKEN) for one in events)
        asked = {one.op: one.data for one in events if one.type == e.STEP_SCHEDULED}
        begun = Counter((one.op, one.data["attempt"]) for one in events if one.type == e.ATTEMPT_STARTED)
        ended = Counter(one.op for one in events if one.type in e.STEP_ENDS)
        for (op, attempt), count in begun.items():
            if count > 1:
                self._find(where, f"attempt {attempt} of operation {op} began {count} times")
        for op, data in asked.items():
            if ended[op] > 1 or (ended[op] == 0 and events[-1].type != e.RUN_CONTINUED and "undoes" in data):
                self._find(where, f"operation {op} ended {ended[op]} times")
            attempts = max((attempt for number, attempt in begun if number == op), default=0)
            for attempt in range(1, 20):
                done = self._effects[(data["key"], str(attempt))]
                if done > 1 + moves or (done and attempt > attempts):
                    self._find(where, f"attempt {attempt} of {attempts} of operation {op} was done {done} times")
        for one in events:
            if one.type == e.STEP_SUCCEEDED and not {"transaction", "external"} & set(asked[one.op]):
                done = self._effects[(asked[one.op]["key"], str(one.data["attempt"]))]
                if not done:
                    self._find(where, f"operation {one.op} has succeeded, and was never done")

    def _undos(self, where: str, events: list[Event]) -> None:
        """What was registered is done, from the last to the first, if the run has failed or was cancelled."""
        registered = [one.op for one in events if one.type == e.UNDO_REGISTERED]
        done = [one.data["undoes"] for one in events if one.type == e.STEP_SCHEDULED and "undoes" in one.data]
        left = events[-1].data.get("not_undone", [])
        closed = events[-1].type in (e.RUN_FAILED, e.RUN_CANCELLED)
        if left or done != (registered[::-1] if closed else []):
            self._find(where, f"it ended by {events[-1].type}, registered {registered}, did {done}, and left {left}")
        if not closed:
            return
        # The code's own way: a step that says so, and is done, is followed by its registration.
        undone = {one.data["input"][0] for one in events if one.type == e.UNDO_REGISTERED}
        acts = [
            one for one in events if one.type == e.STEP_SCHEDULED and one.data["name"] in ("act", "act_in_a_thread")
        ]
        succeeded = {one.op for one in events if one.type == e.STEP_SUCCEEDED}
        for one in acts:
            label = one.data["input"][0]
            if one.op in succeeded and label not in undone and _says_undo(events[0].data["input"], label):
                self._find(where, f"operation {one.op} was done, and what undoes it was not registered")

    def _replay(self, where: str, stream: str, key: str) -> None:
        events = self.streams[stream]
        workflow = next(one for one in WORKFLOWS if one.name == events[0].data["workflow"])
        try:
            replay(events, workflow, id=key, run=stream)
        except Nondeterministic as error:
            self._find(where, f"its code does not fit its history: {error}")

    async def _sums(self) -> None:
        every = [one for events in self.streams.values() for one in events]
        sent = Counter(one.data["key"] for one in every if one.type in (e.CALL_SENT, e.CAST_SENT))
        state = "select key, (state->>'balance')::int from revenant.entities"
        found = {key: balance for key, balance in await rows(self._connection, state) if key in self._accounts}
        if dict(sent) != found:
            self._find("entities", f"{dict(sent)} was sent, and {found} is there")
        keys = [
            asked.data["key"]
            for events in self.streams.values()
            for ops in [{one.op for one in events if one.type == e.STEP_SUCCEEDED}]
            for asked in events
            if asked.type == e.STEP_SCHEDULED and asked.data.get("transaction") and asked.op in ops
        ]
        inserted = [key for (key,) in await rows(self._connection, "select key from storm_rows")]
        if sorted(keys) != sorted(inserted):
            self._find("transactions", f"{len(keys)} have succeeded, and {len(inserted)} rows are there")


def _says_undo(body: Any, label: int) -> bool:
    if not isinstance(body, list):
        return False
    if body[:2] == ["step", label]:
        return bool(body[5])
    return body[:1] != ["afresh"] and any(_says_undo(one, label) for one in body)

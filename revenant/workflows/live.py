"""LiveRun: one run in memory: its view, its code as far as it has come, and what is not committed yet.

Invariant: every change is an event, recorded first and then taken in; read again from its events, a run is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_json

from revenant.codec import ANYTHING, derived_id, dump
from revenant.queue.records import Reply, Scheduled
from revenant.workflows import events as e
from revenant.workflows.address import Address
from revenant.workflows.answering import ANSWERS, Unreadable, answer_to
from revenant.workflows.contradiction import asks_otherwise, waits_still
from revenant.workflows.draft import Draft
from revenant.workflows.events import ASKS, CLOSES, GIVEN_UP, Event
from revenant.workflows.flow import Flow
from revenant.workflows.lineage import Lineage, lineage_of
from revenant.workflows.operation import ChildOperation, Misfit, Operation, UndoOperation, WaitOperation, why_not
from revenant.workflows.past import Past
from revenant.workflows.patches import Patches
from revenant.workflows.replay import Answer, Replay
from revenant.workflows.snapshot import Snapshot, is_due, read_snapshot
from revenant.workflows.standing import recorded
from revenant.workflows.view import Signal, View
from revenant.workflows.workflow import Workflow


class LiveRun:
    """One run, as one worker has it in memory."""

    def __init__(
        self,
        *,
        address: Address,
        run: str,
        workflow: Workflow[Any, Any],
        now: datetime,
        chance: Callable[[], float],
        limit: int,
        codeless: str | None = None,
    ) -> None:
        self.address = address
        self.run = run
        """The stream's own id."""
        self.workflow = workflow
        self.now = now
        """By the database's clock, as nearly as the worker knows."""
        self.chance = chance
        self.limit = limit
        self.codeless = codeless
        """Why its code is not run: no live worker has that version of it."""
        self.view = View()
        self.lineage = Lineage()
        self.decisions = workflow.new_decisions(address.key)
        """What its code decides by, if it is a decider."""
        self.snapshot_seq = 0
        """The events that its last snapshot covers."""
        self.draft = Draft()
        self.problem: str | None = None
        """Why the code cannot go on, until that is recorded."""
        self.undos: dict[int, UndoOperation] = {}
        """What the code has registered, by the numbers of the registrations."""
        self.operations: dict[int, Operation[Any]] = {}
        """Those that wait for an answer."""
        self.unrecorded: dict[int, Operation[Any]] = {}
        """Those that the code has asked for, and no event says so yet."""
        self.taken: dict[int, Signal] = {}
        """The signals that were there when the code asked, by operation, until that is recorded."""
        self.refused: list[tuple[Signal, Misfit]] = []
        """Signals that were there and are not of the shape that the code asks for, and why."""
        self.given_up: list[int] = []
        """Recorded operations that the code does not wait for any more."""
        self.replay: Replay | None = None
        self._past: Past | None = None
        self._patches = Patches()

    @property
    def key(self) -> str:
        """The run's id."""
        return self.address.key

    @property
    def moment_taken(self) -> datetime:
        """When the last event happened."""
        return self.view.now or self.now

    @property
    def chance_of(self) -> str:
        """The stream by whose id the numbers are drawn that come next."""
        return self.lineage.stream_at(self.view.seq, self.run)

    # Reading a run.

    def load(self, history: Sequence[Event], snapshot: str | None = None, *, ended: bool = False) -> None:
        """Take in all events of the run, or those after its snapshot, and run its code along them.

        `ended`: the code had come to its end behind them, so whatever it has not done there is newer than that.
        """
        self._past = Past.of(history, ended=ended)
        if snapshot is not None and self.decisions is not None:
            stood = read_snapshot(snapshot)
            stood.restore(self.decisions)
            self.view, self.snapshot_seq = stood.view, stood.view.seq
            self._begin(count=stood.count)
        for event in history:
            self.now = event.at
            if self.replay is not None:
                if event.type in ASKS:
                    self._check(event)
                elif event.type in GIVEN_UP and event.op in self.operations:
                    self.derail(waits_still(self.key, self.workflow, event, self.operations[event.op]))
            self._take(event)
        self._past = None
        # A history says itself what was given up, but for what came while the run was blocked: no code was there then.
        self.given_up = [number for number in self.given_up if number in self.view.operations]
        for name in self._patches.take_met() if self.replay is not None else ():
            self.record(e.PATCH_RECORDED, None, name=name)
        if self.view.status == "blocked":
            self.put_aside()
            self.problem = None
        elif self.codeless is not None and self.view.status == "running":
            self.problem = self.codeless

    def _check(self, event: Event) -> None:
        """Compare what the code asked for with what the history says."""
        if event.op is None or "undoes" in event.data:
            return
        asked = self.unrecorded.pop(event.op, None)
        self.taken.pop(event.op, None)
        found = None if asked is None else (asked.type, asked.name)
        wanted = (ASKS[event.type], event.data["name"])
        if found != wanted and not (found and self.lineage.is_same(event.seq, wanted, found, self.key)):
            self.derail(asks_otherwise(self.key, self.workflow, event, found, self.replay))

    # Recording.

    def record(self, type: str, op: int | None = None, **data: Any) -> Event:
        """Add an event, and take it in."""
        event = Event(self.view.seq + 1, type, op, self.now, data)
        self.draft.events.append(event)
        if op is not None and type in ASKS:
            self.unrecorded.pop(op, None)
            self.taken.pop(op, None)
        self._take(event)
        return event

    def take_recorded(self, event: Event) -> None:
        """Take in an event that is committed already."""
        self.now = event.at
        self._take(event)

    def _take(self, event: Event) -> None:
        self.view.take(event)
        if self.decisions is not None:
            self.decisions.take(event, self.view)
        if event.type in ANSWERS:
            if self.replay is not None:
                self._answer(event)
        elif event.type == e.RUN_STARTED:
            self.lineage = lineage_of(event.data.get("forked_from"))
            self._begin()
        elif event.type in CLOSES:
            self.put_aside()
        elif event.type == e.RUN_BLOCKED and self._past is None:
            # While the run is read, what follows may say that it went on.
            self.put_aside()

    def _begin(self, *, count: int = 0) -> None:
        if self.codeless is not None:
            return
        self.replay = Replay(asks=self._asks)
        try:
            given = self.workflow.read_input(self.view.input)
        except Exception as error:  # noqa: BLE001 # what is recorded does not fit the code of today
            self.derail(f"The input of run {self.key!r} cannot be read by the code of today: {error}")
            return
        self.replay.begin(self.workflow.begin(Flow(host=self), given, self.decisions), count=count)
        self._note_dropped()

    def _answer(self, event: Event) -> None:
        try:
            number, answer = answer_to(self.view, event, self.operations)
        except Unreadable as error:
            self.derail(f"In the history of run {self.key!r}, {error}")
            return
        if answer is not None and self.replay is not None:
            self.operations.pop(number, None)
            self._keep_where_it_stands()
            self.replay.answer(number, answer)
            self._note_dropped()

    def _keep_where_it_stands(self) -> None:
        """A decider is about to decide; with nothing outstanding, its view is all there is to know."""
        decisions, view, replay = self.decisions, self.view, self.replay
        if decisions is None or replay is None or self._past is not None or not is_due(view.seq, self.snapshot_seq):
            return
        if view.operations or self.unrecorded or self.refused or self.given_up or view.status != "running":
            return
        if view.closing is None and decisions.failure is None:
            text = Snapshot(view, decisions.outcomes, decisions.signals, replay.count).write()
            self.draft.snapshot, self.snapshot_seq = (view.seq, text), view.seq

    def _asks(self, number: int, operation: Operation[Any]) -> Answer | None:
        """Take in what the code asks for; return the answer of what is answered at once."""
        self.unrecorded[number] = operation
        if operation.type == "cast":
            return Answer(self.id_of(number, "cast"))
        if operation.type in ("job", "reply"):
            return Answer()
        if isinstance(operation, ChildOperation) and not operation.wait:
            id = self.child_id(number, operation.id)
            if self.decisions is not None:
                self.decisions.at_once(number, operation.type, operation.name, id, 0)
            return Answer(id)
        if isinstance(operation, UndoOperation):
            self.undos[number] = operation
            return Answer()
        answer = self._signal_for(number, operation) if isinstance(operation, WaitOperation) else None
        if answer is None:
            self.operations[number] = operation
        return answer

    def _signal_for(self, number: int, operation: WaitOperation[Any]) -> Answer | None:
        """Take a signal that came before it was asked for; what is recorded of that decides, where something is."""
        recorded = self._past is not None and number in self._past.asked
        which = self._past.taken.get(number) if self._past is not None else None
        if recorded and which is None:
            return None
        found = self._fitting(operation, which)
        if found is None:
            return None
        signal, value = found
        self.view.signals.drop(signal.name, signal.seq)
        self.taken[number] = signal
        if self.decisions is not None:
            self.decisions.at_once(number, operation.type, operation.name, signal.payload, signal.seq)
        return Answer(value)

    def came_meanwhile(self, operation: WaitOperation[Any]) -> Signal | None:
        """Return a signal that has come since the code asked for it, and before that could be recorded."""
        found = self._fitting(operation, None)
        return None if found is None else found[0]

    def _fitting(self, operation: WaitOperation[Any], which: int | None) -> tuple[Signal, Any] | None:
        """Return the first signal that nobody has taken and that fits; the others are refused."""
        told = self._past.refused if self._past is not None else ()
        for signal in self.view.signals.named(operation.name, updates=operation.type == "update"):
            if signal.seq in told or (which is not None and signal.seq != which):
                continue
            # What was taken once is not judged again, whatever the code says today.
            misfit = operation.misfit(signal.payload) if which is None else None
            if misfit is not None:
                self.view.signals.drop(signal.name, signal.seq)
                self.refused.append((signal, misfit))
                continue
            try:
                return signal, operation.take(signal.payload, signal.update)
            except Exception as error:  # noqa: BLE001 # a type may refuse what it reads in any way
                self.problem = self.problem or (
                    f"In the history of run {self.key!r}, event {signal.seq} cannot be read as {operation!r} of the "
                    f"code says: {why_not(error)}. Nothing was changed; give the type a shape that reads it."
                )
                return None
        return None

    def _note_dropped(self) -> None:
        assert self.replay is not None
        dropped, self.replay.dropped = self.replay.dropped, []
        for number in dropped:
            self.operations.pop(number, None)
            # What was asked for and dropped in one breath was never recorded.
            if self.unrecorded.pop(number, None) is None:
                self.given_up.append(number)

    def derail(self, problem: str) -> None:
        """The code and the history do not go together: nothing is run any more until somebody decides."""
        self.put_aside()
        self.problem = problem

    def put_aside(self) -> None:
        """Unwind the code; it asks for nothing more."""
        replay, self.replay = self.replay, None
        if replay is not None:
            replay.close()
        self.operations.clear()
        self.unrecorded.clear()
        self.taken.clear()
        self.given_up.clear()

    # What the code's own doors need.

    def patched(self, name: str) -> bool:
        """Whether this run takes the newer path; recorded when it does so first."""
        known = self._patches.known(name, self.view, self._past)
        if known is not None:
            return known
        if self._past is not None:
            self._patches.meet(name)
        elif self.replay is not None:
            self.record(e.PATCH_RECORDED, None, name=name)
        return True

    def show(self, value: Any) -> None:
        """Have this stand in the run's row."""
        text = dump(ANYTHING, value, what=f"What run {self.key!r} shows", limit=self.limit)
        if self._past is None and self.replay is not None:
            self.draft.view = text

    # What every part needs.

    def id_of(self, number: int, what: str) -> str:
        """Return the id of a message that has to do with an operation: the same whenever it is asked for."""
        return derived_id(*self.address, f"{self.run}/{number}/{what}")

    def child_id(self, number: int, given: str | None) -> str:
        """Return the id of a child: another one for each history of this run, unless the code gave it."""
        if given is not None:
            return given
        return f"{self.key}/{number}" if self.view.generation == 1 else f"{self.key}/{self.view.generation}.{number}"

    def come_back(
        self, number: int, what: str, *, after: float | None = None, at: datetime | None = None, **args: Any
    ) -> None:
        """Have a message come back to this run when it is due."""
        text = to_json({"run": self.run, "op": number, "what": what, **args}).decode()
        made = self.id_of(number, what)
        self.draft.schedules.append(Scheduled(*self.address, made, "fire", text, None, 0, after, at))

    def moment(self, after: float) -> str:
        """Return the time in so many seconds, as it is recorded: an estimate, since the database decides."""
        try:
            return (self.now + timedelta(seconds=after)).isoformat()
        except OverflowError:
            return datetime.max.replace(tzinfo=self.now.tzinfo).isoformat()

    def take_draft(self) -> Draft:
        """Return what is to be committed, and begin anew."""
        draft, self.draft = self.draft, Draft()
        for message, channel, changed in draft.asked:
            body = to_json(recorded(self.view, changed=changed)).decode()
            draft.replies.append((Reply(message, "ok", self.view.seq, body), channel))
        return draft

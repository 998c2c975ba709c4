"""Draft: what one run has come to since its last append, until one commit holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from revenant.queue.records import Envelope, Reply, Scheduled, Taken
from revenant.workflows.events import Event
from revenant.workflows.operation import JobOperation


class Start(NamedTuple):
    """An attempt that begins once it is recorded."""

    op: int
    attempt: int


class Task(NamedTuple):
    """Something that waits for somebody outside: a step for another process, or a question for a person."""

    op: int
    type: str
    name: str
    attempt: int
    assignee: str | None
    input: str
    due: str | None
    idempotency: str | None = None


@dataclass(slots=True)
class Draft:
    """What is not committed yet."""

    events: list[Event] = field(default_factory=list)
    given: int = 0
    """With how many of these its start has the run begin, before any of its code: the first one, or a history."""
    start: str | None = None
    """The id of the message that starts the run, if one does here."""
    consumed: list[Taken] = field(default_factory=list)
    """The messages that leave the mailbox."""
    replies: list[tuple[Reply, str]] = field(default_factory=list)
    """With the channel on which its caller waits."""
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    """Who is told where the run stands at the end of this: (message, channel, whether it was changed by that)."""
    wakes: list[tuple[Reply, str]] = field(default_factory=list)
    """What somebody who waits is told, and needs no row: the events say it."""
    sends: list[Envelope] = field(default_factory=list)
    schedules: list[Scheduled] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    """Ids of messages that are not to become due."""
    jobs: list[JobOperation] = field(default_factory=list)
    tasks: dict[int, Task] = field(default_factory=dict)
    """What somebody outside is to do now, by operation."""
    withdrawn: set[int] = field(default_factory=set)
    """Operations that nobody outside has to do anything about any more; removed before `tasks` are written."""
    starts: list[Start] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    """Operations whose attempts end now."""
    reloads: bool = False
    """Whether the run is read again once this is committed, and before anything else: its code is another one."""
    view: Any = None
    """What the code shows, as JSON text; None: as before."""
    snapshot: tuple[int, str] | None = None
    """Where the run stood after so many events, as JSON text."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be committed, and nothing that begins after a commit."""
        return not (self.events or self.consumed or self.replies or self.asked or self.starts)

    def hand_out(self, task: Task) -> None:
        """Have somebody outside do this."""
        self.tasks[task.op] = task

    def withdraw(self, op: int) -> None:
        """Nobody outside has to do anything about this operation any more."""
        self.tasks.pop(op, None)
        self.withdrawn.add(op)

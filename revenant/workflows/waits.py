"""Waits: what a workflow's code can wait for from outside: signals, updates, and people's decisions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, overload

from revenant.codec import ANYTHING, dump, read_part
from revenant.workflows.approval import ApprovalOperation, Decision
from revenant.workflows.names import checked_name
from revenant.workflows.operation import Operation, WaitOperation
from revenant.workflows.signature import asked_as
from revenant.workflows.times import Duration, checked_moment, seconds_of
from revenant.workflows.update import Update, UpdateOperation

T = TypeVar("T")


class Waits(ABC):
    """The part of a flow that waits for the outside."""

    @property
    @abstractmethod
    def _limit(self) -> int:
        """Return the bytes that one value may take."""

    @overload
    def signal(self, name: str, type: type[T], *, timeout: Duration | None = ...) -> Operation[T]: ...

    @overload
    def signal(self, name: str, type: Any = ..., *, timeout: Duration | None = ...) -> Operation[Any]: ...

    def signal(self, name: str, type: Any = Any, *, timeout: Duration | None = None) -> Operation[Any]:
        """Wait for a signal of that name; one that came before is taken at once.

        Raises:
            WaitTimeout: where it is awaited: none came within `timeout` (seconds or timedelta).
        """
        shape = asked_as(
            type, of=f"The signal {checked_name(name, 'flow.signal')!r}", such_as=f"flow.signal({name!r}, str)"
        )
        return WaitOperation(name, shape, seconds_of(timeout))

    @overload
    def update(
        self,
        name: str,
        type: type[T],
        *,
        validator: Callable[[T], object] | None = ...,
        timeout: Duration | None = ...,
    ) -> Operation[Update[T]]: ...

    @overload
    def update(
        self,
        name: str,
        type: Any = ...,
        *,
        validator: Callable[[Any], object] | None = ...,
        timeout: Duration | None = ...,
    ) -> Operation[Update[Any]]: ...

    def update(
        self,
        name: str,
        type: Any = Any,
        *,
        validator: Callable[[Any], object] | None = None,
        timeout: Duration | None = None,
    ) -> Operation[Update[Any]]:
        """Wait for an update: a signal whose sender waits until `reply(…)` or `refuse(…)` of it is awaited.

        What the `validator`, a plain function of the value, raises refuses an update before it is taken, and the code
        waits on. It is asked once for each update, never again when the code runs again.

        Raises:
            WaitTimeout: where it is awaited: none came within `timeout` (seconds or timedelta).
        """
        shape = asked_as(
            type, of=f"The update {checked_name(name, 'flow.update')!r}", such_as=f"flow.update({name!r}, str)"
        )
        return UpdateOperation(name, shape, seconds_of(timeout), validator=validator, limit=self._limit)

    @overload
    def approval(
        self,
        name: str,
        *,
        form: type[T],
        assignee: str | None = ...,
        about: Any = ...,
        deadline: Duration | datetime | None = ...,
    ) -> Operation[Decision[T]]: ...

    @overload
    def approval(
        self,
        name: str,
        *,
        form: Any = ...,
        assignee: str | None = ...,
        about: Any = ...,
        deadline: Duration | datetime | None = ...,
    ) -> Operation[Decision[Any]]: ...

    def approval(
        self,
        name: str,
        *,
        form: Any = Any,
        assignee: str | None = None,
        about: Any = None,
        deadline: Duration | datetime | None = None,
    ) -> Operation[Decision[Any]]:
        """Ask a person, and wait for the decision of exactly one: `approved`, `by` whom, and the `form` filled in.

        `app.approvals(assignee=…)` lists what waits for whom; `about` is shown there: anything that JSON can hold.

        Raises:
            WaitTimeout: where it is awaited: nobody decided by the `deadline` (seconds, timedelta or a moment).
        """
        at = checked_moment(deadline, door="flow.approval(deadline=…)") if isinstance(deadline, datetime) else None
        after = None if isinstance(deadline, datetime) else seconds_of(deadline)
        checked_name(name, "flow.approval")
        if assignee is not None:
            checked_name(assignee, "flow.approval", "assignee", such_as="treasurer")
        what = f"What approval {name!r} is about"
        told = read_part(dump(ANYTHING, about, what=what, limit=self._limit), what=what)
        shape = asked_as(form, of=f"The form of approval {name!r}", such_as=f"flow.approval({name!r}, form=Reason)")
        return ApprovalOperation(name, shape, assignee=assignee, about=told, after=after, at=at)

"""States: what is committed, read without a worker and upgraded in memory; nothing is ever written here.

Invariant: whoever has a reply reads at least what that reply's commit has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import psycopg
from pydantic_core import from_json

from revenant.client.sender import back_off, is_lost, meaning_of
from revenant.codec import bucket_of
from revenant.entities.entity import Entity
from revenant.entities.history import Change
from revenant.entities.snapshot import load_copy
from revenant.errors import ConfigurationError, HistoryNotKept
from revenant.queue.connection import unavailable
from revenant.queue.history import Moment, read_history, read_moment, read_state
from revenant.queue.link import Link

R = TypeVar("R")
Definition = type[Entity] | None
"""The class, or None where only the kind's name is known: then states are dicts."""


class States:
    """Reads committed states, over a connection of its own that is opened when it is first needed."""

    def __init__(self, *, url: str, seconds: float) -> None:
        self._link = Link(url=url, role="reader")
        self._seconds = seconds
        self._stopped = False

    async def stop(self) -> None:
        """Hang up for good; safe before the first use and twice."""
        self._stopped = True
        await self._link.reset()

    async def state(self, kind: str, key: str, definition: Definition, *, at: datetime | None) -> Any:
        """Return the state now, or as it was; None where there was none.

        Raises:
            StateInvalid: it does not fit the class.
            HistoryNotKept: what it was then is not known.
        """
        place: dict[str, Any] = {"bucket": bucket_of(kind, key), "kind": kind, "key": key}
        if at is None:
            row = await self.ask(lambda connection: read_state(connection, **place))
            return None if row is None else read_as(definition, key, row.state, row.vsn)
        _check_moment(at)
        found = await self.ask(lambda connection: read_moment(connection, at=at, **place))
        state, vsn = _at_moment(found, f"{kind}({key!r})", at)
        return read_as(definition, key, state, vsn)

    async def history(
        self, kind: str, key: str, definition: Definition, *, since: datetime | None, until: datetime | None, limit: int
    ) -> list[Change[Any]]:
        """Return the kept versions, the newest first."""
        if limit < 1:
            raise ConfigurationError(f"limit={limit!r} is no number of versions: give one from 1 on. Nothing was read.")
        for moment in (since, until):
            if moment is not None:
                _check_moment(moment)
        rows = await self.ask(
            lambda connection: read_history(
                connection, bucket=bucket_of(kind, key), kind=kind, key=key, since=since, until=until, limit=limit
            )
        )
        if rows is None:
            refuse_history(f"{kind}({key!r})")
        return [
            Change(row.version, row.at, row.handler, row.message_id, read_as(definition, key, row.state, row.vsn))
            for row in rows
        ]

    async def ask(self, question: Callable[[psycopg.AsyncConnection[Any]], Awaitable[R]]) -> R:
        """Return what the question, a function of a connection, finds; asked twice, it does no more.

        Raises:
            DatabaseUnavailable: Postgres cannot be reached, or does not answer in time.
            ConfigurationError: the application was stopped.
        """
        failures = 0
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    connection = await self._connection()
                    try:
                        return await question(connection)
                    except Exception as error:  # noqa: BLE001 # told, or tried again: asked twice, it does no harm
                        if not is_lost(error):
                            raise meaning_of(error, self._link.url) from None
                        await self._link.reset(error, only=connection)
                    await back_off(failures)
                    failures += 1
        except TimeoutError:
            cause = self._link.last_error or TimeoutError(f"no answer after {self._seconds:g} s")
            raise unavailable(self._link.url, cause) from None

    async def _connection(self) -> psycopg.AsyncConnection[Any]:
        if not self._stopped:
            connection = await self._link.connection()
            if not self._stopped:
                return connection
            # It was being made while everybody hung up: nobody else would close it.
            await self._link.reset()
        raise ConfigurationError(
            "Something was to be read after the application was stopped, as at the end of `async with app:`. Nothing "
            "was read. Read inside of it; a handle that outlives it is made anew, by app.run(…) or app.ref(…)."
        )


def _check_moment(given: object) -> None:
    if not isinstance(given, datetime) or given.utcoffset() is None:
        raise ConfigurationError(f"{given!r} is no moment: give a datetime with a time zone. Nothing was read.")


def read_as(definition: Definition, key: str, state: str | None, vsn: int | None) -> Any:
    """Return a stored state as a copy of its class, or as plain JSON where there is none; None for none."""
    if state is None:
        return None
    return from_json(state) if definition is None else load_copy(definition, key, state=state, vsn=vsn)


def _at_moment(found: Moment, what: str, at: datetime) -> tuple[str | None, int | None]:
    """Return the state at the moment and its vsn."""
    if not found.kept:
        refuse_history(what)
    if found.too_old:
        raise HistoryNotKept(
            f"The state of {what} at {at.isoformat()} is not kept: its kind's history does not go back so far. "
            "Ask for a later moment, or keep the history for longer."
        )
    if found.version is not None and not found.has_gap:
        return found.state, found.vsn
    if found.next_is_before:
        return found.next_state, found.next_vsn
    if found.version is None and found.next_version is None and not found.younger:
        return found.current_state, found.current_vsn
    if found.version is None and found.next_version == 1:
        return None, None
    raise HistoryNotKept(
        f"The state of {what} at {at.isoformat()} is not known: it was changed since by a worker that kept no history "
        "of it. Ask for a later moment."
    )


def refuse_history(what: str) -> NoReturn:
    """Say that an entity's kind keeps no history."""
    raise ConfigurationError(
        f"{what} keeps no history. Say how long to keep it with its class, class …(Entity, history=timedelta(days=7)), "
        "and serve it by a worker; it begins with the next change."
    )

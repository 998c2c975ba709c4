"""Looking: `app.state` and `app.history`, typed by the entity's class; a part of the application."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar, overload

from revenant.client.states import Definition, States
from revenant.codec import check_key
from revenant.entities.entity import Entity
from revenant.entities.history import Change
from revenant.entities.ref import Ref, address_of, kind_of

E = TypeVar("E", bound=Entity)


class Looking(ABC):
    """Reads what is committed, without a worker."""

    @abstractmethod
    def _states(self, door: str) -> tuple[States, Mapping[str, type[Entity]]]:
        """Return what reads states, and the classes that are known; `door` is what was used."""

    @overload
    async def state(self, kind: type[E], key: str, *, at: datetime | None = None) -> E | None: ...

    @overload
    async def state(self, kind: str, key: str, *, at: datetime | None = None) -> Any: ...

    @overload
    async def state(self, kind: E, *, at: datetime | None = None) -> E | None: ...

    async def state(
        self, kind: type[E] | str | E, key: str | None = None, *, at: datetime | None = None
    ) -> E | Any | None:
        """Return a copy of an entity's committed state, or of that at a moment; None where it has none.

        By class and key, or by a ref. Where the class is not known here, the state is a dict.

        Raises:
            StateInvalid: the stored state does not fit the class.
            HistoryNotKept: what it was at that moment is not known.
        """
        states, known = self._states("app.state")
        return await states.state(*_place(kind, key, known, "app.state"), at=at)

    @overload
    async def history(
        self, kind: type[E], key: str, *, since: datetime | None = None, until: datetime | None = None, limit: int = 100
    ) -> list[Change[E]]: ...

    @overload
    async def history(
        self, kind: str, key: str, *, since: datetime | None = None, until: datetime | None = None, limit: int = 100
    ) -> list[Change[Any]]: ...

    @overload
    async def history(
        self, kind: E, *, since: datetime | None = None, until: datetime | None = None, limit: int = 100
    ) -> list[Change[E]]: ...

    async def history(
        self,
        kind: type[E] | str | E,
        key: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[Any]:
        """Return an entity's versions, the newest first, each with its state and the message that made it.

        From `since` on and before `until`, at most `limit` of them; as far back as its kind's `history` says.
        """
        states, known = self._states("app.history")
        return await states.history(*_place(kind, key, known, "app.history"), since=since, until=until, limit=limit)


def _place(kind: object, key: str | None, known: Mapping[str, type[Entity]], door: str) -> tuple[str, str, Definition]:
    if key is None or isinstance(kind, Ref):
        name, key = address_of(kind)  # type: ignore[arg-type]  # it refuses what is no ref
        return name, key, kind._definition or known.get(name)  # type: ignore[attr-defined]  # a ref by now
    name, definition = kind_of(kind, door)
    return name, check_key(name, key), definition or known.get(name)

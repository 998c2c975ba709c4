"""Making a test's application of yours: the same entities, schedules and jobs, with settings that prove more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.testing.memory import MemoryApp
from revenant.testing.served import ServedApp


def memory_app(
    what: Revenant | Iterable[type[Entity]], *, settings: Settings | None = None, now: datetime | None = None
) -> MemoryApp:
    """Return an application without a database: like yours, or with these entities.

    `now` is where its clock begins (default: the present); `settings` default to yours, with `validate_state` on.

    Example:
        >>> app = memory_app([Account], now=datetime(2026, 1, 2, tzinfo=UTC))
    """
    app = _like(what)
    return MemoryApp(
        entities=app.registry.kinds.values(),
        schedules=app.schedules,
        settings=settings or _proving(app.settings),
        now=now,
        tracebacks=app.tracebacks,
    )


def maker(database_url: str) -> Callable[..., ServedApp]:
    """Return what makes applications on a test's database."""

    def served_app(
        what: Revenant | Iterable[type[Entity]], *, settings: Settings | None = None, now: datetime | None = None
    ) -> ServedApp:
        app = _like(what)
        return ServedApp(
            entities=app.registry.kinds.values(),
            database_url=database_url,
            settings=settings or _proving(app.settings),
            jobs=app.jobs,
            schedules=app.schedules,
            now=now,
            tracebacks=app.tracebacks,
        )

    return served_app


def _like(what: Revenant | Iterable[type[Entity]]) -> Revenant:
    return what if isinstance(what, Revenant) else Revenant(entities=what)


def _proving(settings: Settings) -> Settings:
    return settings.model_copy(update={"validate_state": True})

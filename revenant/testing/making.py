"""Making a test's application of yours: the same entities, schedules and jobs, with settings that prove more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.errors import ConfigurationError
from revenant.testing.memory import MemoryApp
from revenant.testing.served import ServedApp
from revenant.workflows.decider import Decider
from revenant.workflows.workflow import Workflow

Flows = Iterable[Workflow[Any, Any] | type[Decider[Any, Any]]]


def memory_app(
    what: Revenant | Iterable[type[Entity]] = (),
    *,
    workflows: Flows = (),
    settings: Settings | None = None,
    now: datetime | None = None,
) -> MemoryApp:
    """Return an application without a database: like yours, or with these entities and workflows.

    `now` is where its clock begins (default: the present); `settings` default to yours, with `validate_state` on.

    Example:
        >>> app = memory_app([Account], now=datetime(2026, 1, 2, tzinfo=UTC))
    """
    app = _like(what, workflows)
    return MemoryApp(
        entities=app.registry.kinds.values(),
        workflows=app.workflows.all(),
        schedules=app.schedules,
        settings=settings or _proving(app.settings),
        now=now,
        tracebacks=app.tracebacks,
    )


def maker(database_url: str) -> Callable[..., ServedApp]:
    """Return what makes applications on a test's database."""

    def served_app(
        what: Revenant | Iterable[type[Entity]] = (),
        *,
        workflows: Flows = (),
        settings: Settings | None = None,
        now: datetime | None = None,
    ) -> ServedApp:
        app = _like(what, workflows)
        made = ServedApp(
            entities=app.registry.kinds.values(),
            workflows=app.workflows.all(),
            database_url=database_url,
            settings=settings or _proving(app.settings),
            jobs=app.jobs,
            schedules=app.schedules,
            now=now,
            tracebacks=app.tracebacks,
        )
        # A step sends through your application, and what it sends is for the test's database.
        made.errands = app.errands
        return made

    return served_app


def _like(what: Revenant | Iterable[type[Entity]], workflows: Flows) -> Revenant:
    if not isinstance(what, Revenant):
        return Revenant(entities=what, workflows=workflows)
    if workflows:
        raise ConfigurationError("Give workflows= with entities; an application has its own, and these were left out.")
    return what


def _proving(settings: Settings) -> Settings:
    return settings.model_copy(update={"validate_state": True})

"""The pytest plugin of Revenant: fixtures for tests on a real database.

It stands outside the package, and imports it when a fixture is first used: a run of other tests pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from revenant import Entity, Revenant, Settings
    from revenant.testing import ServedApp
    from revenant.workflows.decider import Decider
    from revenant.workflows.workflow import Workflow


class MakeApp(Protocol):
    """What the fixture `revenant_app` is."""

    def __call__(
        self,
        what: Revenant | Iterable[type[Entity]] = (),
        *,
        workflows: Iterable[Workflow[Any, Any] | type[Decider[Any, Any]]] = (),
        settings: Settings | None = None,
        now: datetime | None = None,
    ) -> ServedApp:
        """Return an application like yours, or with these entities and workflows, on the test's database."""
        ...


@pytest.fixture(scope="session")
def revenant_server() -> Iterator[str]:
    """Give the URL of a server with the right to make databases: DATABASE_URL, else the embedded one."""
    with _testing("server").server() as url:
        yield url


@pytest.fixture(scope="session")
def revenant_prepare() -> Callable[[str], None] | None:
    """Override it to make your own tables: return a function that takes a database's URL; called once in a run."""
    return None


@pytest.fixture(scope="session")
def revenant_template(revenant_server: str, revenant_prepare: Callable[[str], None] | None) -> Iterator[str]:
    """Give the name of the migrated and prepared database that each test gets a copy of."""
    with _testing("server").template(revenant_server, revenant_prepare) as name:
        yield name


@pytest.fixture
def revenant_database(revenant_server: str, revenant_template: str) -> Iterator[str]:
    """Give the URL of a fresh, migrated database."""
    with _testing("server").database(revenant_server, revenant_template) as url:
        yield url


@pytest.fixture
def revenant_app(revenant_database: str) -> MakeApp:
    """Return what makes applications on this test's database: `async with revenant_app(app) as app:`."""
    made: MakeApp = _testing("making").maker(revenant_database)
    return made


def _testing(name: str) -> Any:
    return import_module(f"revenant.testing.{name}")

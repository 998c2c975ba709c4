"""Emptiness: a list of one kind or workflow has nothing in it; where the name may be the reason, that is said."""

from __future__ import annotations

import click

from revenant.app import Revenant
from revenant.cli.kinds import definition_of, workflow_of
from revenant.queue.facts import served
from revenant.queue.views import Connection, workers
from revenant.workflows.workflow import KIND


async def doubt_workflow(app: Revenant, app_path: str | None, connection: Connection, workflow: str | None) -> None:
    """Say so where nobody knows the workflow of which nothing was found.

    Raises:
        UnknownWorkflow: the application that was named has none of that name.
    """
    if workflow is None:
        return
    if app_path:
        workflow_of(app, workflow)
        return
    live = [kind.removeprefix(KIND) for kind in await _live(connection) if kind.startswith(KIND)]
    if workflow not in live:
        _say(f"a workflow called {workflow!r}", "workflows", live)


async def doubt_kind(app: Revenant, app_path: str | None, connection: Connection, kind: str | None) -> None:
    """Say so where nobody knows the kind of which nothing was found.

    Raises:
        UnknownKind: the application that was named has none of that name.
    """
    if kind is None:
        return
    if app_path:
        if kind not in app.workflows.kinds:
            definition_of(app, kind)
        return
    live = list(await _live(connection))
    if kind not in live:
        _say(f"the kind {kind!r}", "kinds", live)


async def _live(connection: Connection) -> dict[str, int]:
    return served(await workers(connection))


def _say(what: str, those: str, live: list[str]) -> None:
    # Not that there is nothing of it: a list may be of what waits, or has failed, and all workers be at rest.
    names = ", ".join(sorted(live)) or "none"
    click.echo(
        f"Nothing was found, and no live worker serves {what}. Live workers serve these {those}: {names}.", err=True
    )

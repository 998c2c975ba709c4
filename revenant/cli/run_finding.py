"""Which run an id means: ids alone find runs, and where several workflows have one, the workflow decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from psycopg.errors import InsufficientPrivilege

from revenant.app import Revenant
from revenant.cli.arguments import Seconds
from revenant.cli.failures import not_found
from revenant.cli.option import option
from revenant.cli.options import looking
from revenant.client.run import Run
from revenant.queue.runviews import find_runs
from revenant.queue.views import Connection, Row
from revenant.workflows.workflow import KIND

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


timeout_option = option(
    "--timeout",
    type=Seconds(),
    help="Seconds to wait until it is recorded; 5 unless the settings say otherwise.",
)


def workflow_option(command: F) -> F:
    """Add --workflow to a command that takes an id."""
    return option(
        "--workflow",
        metavar="NAME",
        help="The run's workflow, where several have one of that id.",
    )(command)


async def find_run(connection: Connection, key: str, workflow: str | None) -> Row:
    """Return (kind, key, started_at) of the run that is meant.

    Raises:
        click.ClickException: there is none, or there are several.
    """
    found = await find_runs(connection, key)
    chosen = [row for row in found if workflow is None or row["kind"] == f"{KIND}{workflow}"]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(row["kind"].removeprefix(KIND) for row in found)
    if chosen:
        raise click.UsageError(f"There are runs {key!r} of several workflows: {names}. Say which with --workflow.")
    if found:
        raise not_found(f"There is no run {key!r} of {workflow}, but one of {names}.")
    raise not_found(f"There is no run {key!r}. `revenant run ls` lists them; one that waits for a worker is not begun.")


async def require_run(app: Revenant, workflow: str, key: str) -> None:
    """Go on if the run has begun: what is sent to one that there is not would wait for a worker to say so.

    Raises:
        click.ClickException: there is none; it exits with 3.
    """
    async with looking(app) as connection:
        try:
            await find_run(connection, key, workflow)
        except InsufficientPrivilege:
            return  # a role that may send, and not look


async def with_run(
    app: Revenant, key: str, workflow: str | None, deed: Callable[[Run[Any]], Awaitable[R]]
) -> tuple[str, R]:
    """Find a run and do that to it; return its workflow's name, and what the deed returned."""
    async with looking(app) as connection:
        try:
            name = str((await find_run(connection, key, workflow))["kind"]).removeprefix(KIND)
        except InsufficientPrivilege:
            # A role that may send, and not look, has to say which it means.
            if workflow is None:
                raise
            name = workflow
    async with app:
        return name, await deed(app.run(name, key))

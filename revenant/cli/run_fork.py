"""`revenant run fork`: tries a run again from one of its steps on, as another run."""

from __future__ import annotations

from typing import Any

import click

from revenant.app import Revenant
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.run_finding import find_run, timeout_option, workflow_option
from revenant.eventloop import run
from revenant.workflows.workflow import KIND


@click.command()
@click.argument("id", metavar="ID")
@click.argument("new_id", metavar="NEW_ID")
@option("--step", metavar="NAME|NUMBER", help="The first step that is done anew; else the last one that failed.")
@option("--version", type=click.IntRange(min=1), metavar="N", help="The version of the code to go on with.")
@option("--even-undone", is_flag=True, help="Also where what was done before is undone: it is there again.")
@workflow_option
@timeout_option
@app_option()
def fork(
    *,
    id: str,
    new_id: str,
    step: str | None,
    version: int | None,
    even_undone: bool,
    workflow: str | None,
    timeout: float | None,
    app_path: str | None,
) -> None:
    """Start the run NEW_ID with the history of the run ID, up to before a step; from there on it goes anew.

    It works for runs that have failed, completed or been cancelled, that are blocked, and that still go on. What was
    open then, such as steps beside that one, is done anew as well. What a run has undone, a fork would take for done:
    it is refused, but for one from before that on.
    """
    chosen = int(step) if step is not None and step.isdecimal() else step
    how = {"step": chosen, "version": version, "even_undone": even_undone, "timeout": timeout}
    run(_fork(application(app_path), id, new_id, workflow, how))
    click.echo(new_id)


async def _fork(app: Revenant, id: str, new_id: str, workflow: str | None, how: dict[str, Any]) -> None:
    async with looking(app) as connection:
        found = await find_run(connection, id, workflow)
    async with app:
        await app.fork(app.run(str(found["kind"]).removeprefix(KIND), id), id=new_id, **how)

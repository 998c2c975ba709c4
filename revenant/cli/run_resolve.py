"""`revenant run resolve`: somebody has seen to a run that has failed, or left what was not undone."""

from __future__ import annotations

import click

from revenant.app import Revenant
from revenant.cli.failures import refused
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.run_finding import find_run, workflow_option
from revenant.eventloop import run
from revenant.queue.runviews import resolve_run, see_run
from revenant.workflows.workflow import KIND


@click.command()
@click.argument("id", metavar="ID")
@option("--by", required=True, metavar="WHO", help="Who has seen to it; kept with the run.")
@option("--note", metavar="TEXT", help="What was done about it; kept with the run.")
@workflow_option
@app_option()
def resolve(*, id: str, by: str, note: str | None, workflow: str | None, app_path: str | None) -> None:
    """Say that you have seen to the run ID, which has failed, or has ended with something that was not undone.

    It is not listed as stuck any more, and `revenant run show` says who did what, and when. The first one stands.
    Nothing of the run is done again: mend what is left first, by hand, or by another run.
    """
    if not by:
        raise click.UsageError("Say by whom: --by is empty.")
    click.echo(run(_resolve(application(app_path), id, workflow, by, note)), err=True)


async def _resolve(app: Revenant, id: str, workflow: str | None, by: str, note: str | None) -> str:
    async with looking(app) as connection:
        kind = str((await find_run(connection, id, workflow))["kind"])
        what = f"Run {id!r} of {kind.removeprefix(KIND)}"
        if await resolve_run(connection, kind, id, by=by, note=note):
            return f"{what} is resolved, and not listed as stuck any more."
        seen = await see_run(connection, kind, id)
    row = {} if seen is None else seen.row
    if given := row.get("resolved"):
        return f"{what} was resolved by {given['by']} before, at {given['at']}; that stands, and nothing was done."
    raise refused(
        f"{what} is {row.get('status', 'gone')}, and leaves nothing to be resolved: that is for runs that have failed, "
        "or have ended with something that was not undone. Nothing was done."
    )

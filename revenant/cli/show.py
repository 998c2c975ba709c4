"""`revenant show`: one entity: its state, and what waits for it."""

from __future__ import annotations

import click

from revenant.app import Revenant
from revenant.cli.failures import not_found
from revenant.cli.options import app_option, application, looking
from revenant.cli.output import output_option, print_record
from revenant.codec import RUN_KIND, check_key
from revenant.eventloop import run
from revenant.queue.views import Row, find_entity


@click.command()
@click.argument("kind")
@click.argument("key")
@output_option
@app_option()
def show(kind: str, key: str, output: str, app_path: str | None) -> None:
    """Show the entity KIND KEY: version, state, reminders, and its waiting, scheduled and dead messages."""
    found = run(_show(application(app_path), kind, check_key(kind, key)))
    if found is None:
        where = f"`revenant ls {kind}` lists the keys."
        if kind.startswith(RUN_KIND):
            where = "Runs of workflows are shown by `revenant run show ID`."
        raise not_found(f"{kind}({key!r}) has no state and no messages. {where}")
    print_record(output, found)


async def _show(app: Revenant, kind: str, key: str) -> Row | None:
    async with looking(app) as connection:
        return await find_entity(connection, kind, key)

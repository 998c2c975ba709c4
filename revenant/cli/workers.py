"""`revenant workers`: the fleet, by its heartbeats."""

from __future__ import annotations

import click

from revenant.app import Revenant
from revenant.cli.options import app_option, application, looking
from revenant.cli.output import output_option, print_rows
from revenant.eventloop import run
from revenant.queue.views import Row
from revenant.queue.views import workers as all_workers

COLUMNS = (
    "id",
    "host",
    "pid",
    "kinds",
    "lanes",
    "jobs",
    "turns",
    "messages",
    "attempts",
    "cells",
    "for_a_cell",
    "draining",
    "heartbeat_age",
    "alive",
)


@click.command()
@output_option
@app_option()
def workers(output: str, app_path: str | None) -> None:
    """List the workers: a heartbeat's age is in seconds, by the database's clock; over 8 a worker counts as dead.

    Of steps, `attempts` are under way. Those of them that were so when workers died run in its `cells`, or wait for
    one.
    """
    found = run(_workers(application(app_path)))
    print_rows(
        output, COLUMNS, [{name: row[name] for name in COLUMNS} | {"kinds": sorted(row["kinds"])} for row in found]
    )


async def _workers(app: Revenant) -> list[Row]:
    async with looking(app) as connection:
        return await all_workers(connection)

"""`revenant schedules`: what applications have sent at set times, and when next."""

from __future__ import annotations

import click

from revenant.app import Revenant
from revenant.cli.options import app_option, application, looking
from revenant.cli.output import output_option, print_rows
from revenant.eventloop import run
from revenant.queue.views import Row
from revenant.queue.views import schedules as all_schedules

COLUMNS = ("name", "every", "cron", "timezone", "missed", "kind", "key", "handler", "due", "fired_at", "live")


@click.command()
@output_option
@app_option()
def schedules(output: str, app_path: str | None) -> None:
    """List the schedules: `every` is in seconds; one that is not live fires when a worker that has it runs again."""
    print_rows(output, COLUMNS, run(_schedules(application(app_path))))


async def _schedules(app: Revenant) -> list[Row]:
    async with looking(app) as connection:
        return await all_schedules(connection)

"""`revenant migrate`: brings the database's schema up to this code."""

from __future__ import annotations

import click

from revenant import sql
from revenant.app import Revenant
from revenant.cli.arguments import Seconds
from revenant.cli.option import option
from revenant.cli.options import application, database_option
from revenant.eventloop import run
from revenant.queue.session import session


@click.command()
@option(
    "--check",
    "only_check",
    is_flag=True,
    envvar="REVENANT_MIGRATE_CHECK",
    help="Change nothing; exit 1 unless this code can run.",
)
@option(
    "--sql",
    "only_print",
    is_flag=True,
    envvar="REVENANT_MIGRATE_SQL",
    help="Change nothing; print what would be done, for psql.",
)
@option(
    "--lock-timeout",
    type=Seconds(least=0.001),
    default=5.0,
    show_default=True,
    help="Seconds that one lock may be waited for.",
)
@database_option
def migrate(only_check: bool, only_print: bool, lock_timeout: float) -> None:
    """Bring the schema up to this code; again is harmless, and concurrent migrators take turns."""
    if only_check and only_print:
        raise click.UsageError("Give --check or --sql, not both.")
    if only_print:
        click.echo(sql.render(lock_timeout=lock_timeout), nl=False)
        return
    app = application(None)
    try:
        click.echo(run(_check(app) if only_check else _migrate(app, lock_timeout)), err=True)
    finally:
        app.release()


async def _check(app: Revenant) -> str:
    async with session(app.url(), role="cli") as connection:
        sql.require_schema(await sql.status(connection))
    return "The schema suits this code."


async def _migrate(app: Revenant, lock_timeout: float) -> str:
    done = await sql.migrate(app.url(), lock_timeout=lock_timeout)
    if done.nothing_to_do:
        return f"Nothing to do: the schema is at migration {done.number}."
    parts = [
        *([f"applied {', '.join(done.applied)}"] if done.applied else []),
        *(["refreshed the functions"] if done.functions_refreshed else []),
        *(["installed procrastinate's schema"] if done.procrastinate_installed else []),
    ]
    return f"The schema is at migration {done.number} now: {', '.join(parts)}."

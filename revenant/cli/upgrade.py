"""`revenant upgrade`: every stored state of a kind brought to the shape of its class, or only tried."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

import click

from revenant.app import Revenant
from revenant.cli.kinds import definition_of
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.output import output_option, print_rows
from revenant.eventloop import run
from revenant.worker.upgrade import Tally, Upgrade

COLUMNS = ("key", "version", "vsn", "path", "why")
SAY_SECONDS = 1.0
"""Between two lines of progress."""


@click.command()
@click.argument("kind")
@option(
    "--dry-run", is_flag=True, envvar="REVENANT_UPGRADE_DRY_RUN", help="Change nothing; find the rows that would fail."
)
@output_option
@app_option(required=True)
def upgrade(kind: str, dry_run: bool, output: str, app_path: str) -> None:
    """Upgrade all stored states of KIND to its class's vsn, by its `upgrade`.

    Prints the rows that fail, which stay as they are, and exits with 1 if there are any. May be interrupted, and run
    again at any time, beside workers. Without it, each entity is upgraded when it is next handled.
    """
    app = application(app_path)
    tally = run(_upgrade(app, kind, dry_run=dry_run))
    print_rows(output, COLUMNS, [asdict(flaw) for flaw in tally.flaws])
    click.echo(_summary(tally, dry_run=dry_run), err=True)
    if tally.flaws:
        raise click.exceptions.Exit(1)


async def _upgrade(app: Revenant, kind: str, *, dry_run: bool) -> Tally:
    definition = definition_of(app, kind)
    said = time.monotonic()

    def say(tally: Tally) -> None:
        nonlocal said
        if time.monotonic() - said > SAY_SECONDS and sys.stderr.isatty():
            said = time.monotonic()
            click.echo(f"{tally.buckets / 2.56:.0f} %: {_summary(tally, dry_run=dry_run)}", err=True)

    async with looking(app) as connection:
        made = Upgrade(definition, limit=app.settings.max_bytes, dry_run=dry_run, on_page=say)
        return await made.run(connection)


def _summary(tally: Tally, *, dry_run: bool) -> str:
    done = f"{tally.older:,} would be upgraded" if dry_run else f"{tally.upgraded:,} upgraded"
    newer = f", {tally.newer:,} of a newer class left alone" if tally.newer else ""
    rows = "row" if tally.rows == 1 else "rows"
    return f"{tally.rows:,} {rows}: {done}, {len(tally.flaws):,} failed{newer}."

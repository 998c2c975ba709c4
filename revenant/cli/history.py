"""`revenant history`: the versions of one entity, the newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from revenant.app import Revenant
from revenant.cli.arguments import Moment
from revenant.cli.failures import not_found
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.output import output_option, print_rows
from revenant.client.states import States
from revenant.codec import check_key
from revenant.eventloop import run

COLUMNS = ("version", "at", "handler", "message", "state")


@click.command()
@click.argument("kind")
@click.argument("key")
@option("--since", type=Moment(), metavar="ISO", help="Only from then on: 2026-01-31T08:00:00+01:00.")
@option("--until", type=Moment(), metavar="ISO", help="Only before then.")
@option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="At most so many.")
@output_option
@app_option()
def history(
    *,
    kind: str,
    key: str,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    output: str,
    app_path: str | None,
) -> None:
    """Show the versions of the entity KIND KEY, the newest first, each with the message that made it.

    Its class says how long they are kept (`history=timedelta(days=7)`). States are shown as they were stored. Version
    0 is a deletion.
    """
    asked = {"since": since, "until": until, "limit": limit}
    rows = run(_history(application(app_path), kind, check_key(kind, key), asked))
    if not rows:
        when = "" if since is None and until is None else " of that time"
        raise not_found(f"{kind}({key!r}) has no version{when} in its history.")
    print_rows(output, COLUMNS, rows)


async def _history(app: Revenant, kind: str, key: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    async with looking(app):
        states = States(url=app.url(), seconds=app.settings.call_timeout)
        try:
            changes = await states.history(kind, key, None, **asked)
        finally:
            await states.stop()
    return [
        {
            "version": change.version,
            "at": change.at,
            "handler": change.handler,
            "message": change.message_id,
            "state": change.state,
        }
        for change in changes
    ]

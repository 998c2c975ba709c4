"""`revenant cancel`: takes messages that are not due yet out of the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import click

from revenant.app import Revenant
from revenant.cli.failures import not_found
from revenant.cli.options import app_option, application
from revenant.eventloop import run


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@app_option()
def cancel(ids: Sequence[UUID], app_path: str | None) -> None:
    """Take messages out of the schedule: casts with --after or --at, and failed ones before their next attempt."""
    wanted = [str(given) for given in ids]
    done = run(_cancel(application(app_path), wanted))
    for message_id in done:
        click.echo(message_id)
    click.echo(f"{len(done)} cancelled.", err=True)
    if missing := [given for given in wanted if given not in done]:
        raise not_found(f"Not scheduled, or due before: {', '.join(missing)}.")


async def _cancel(app: Revenant, ids: Sequence[str]) -> list[str]:
    async with app:
        return [message_id for message_id in ids if await app.cancel(message_id)]

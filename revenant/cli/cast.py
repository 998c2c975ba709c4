"""`revenant cast`: sends a message without waiting for its handler."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from revenant.app import Revenant
from revenant.cli.arguments import Duration, Moment, json_of, message_arguments
from revenant.cli.messages import message_of
from revenant.cli.option import option
from revenant.cli.options import app_option, application
from revenant.entities.message import Message
from revenant.eventloop import run


@click.command()
@message_arguments
@option("--after", type=Duration(), help="Have it handled so much later: 500ms, 5s, 10m, 2h, 1d.")
@option("--at", type=Moment(), metavar="ISO", help="Have it handled then: 2026-01-31T08:00:00+01:00.")
@option("--idempotency-key", metavar="KEY", help="Sent again with the same key, it counts once.")
@app_option()
def cast(
    *,
    kind: str,
    key: str,
    handler: str,
    pairs: Sequence[str],
    args: str | None,
    after: timedelta | None,
    at: datetime | None,
    idempotency_key: str | None,
    app_path: str | None,
) -> None:
    """Send HANDLER to the entity KIND KEY, and print the message's id once it is stored for good."""
    if after is not None and at is not None:
        raise click.UsageError("Give --after or --at, not both.")
    app = application(app_path)
    message = message_of(app, kind, key, handler, json_of(pairs, args))
    click.echo(run(_cast(app, message, after, at, idempotency_key)))


async def _cast(
    app: Revenant,
    message: Message[str],
    after: timedelta | None,
    at: datetime | None,
    idempotency_key: str | None,
) -> str:
    async with app:
        return await app.cast(message, after=after, at=at, idempotency_key=idempotency_key)

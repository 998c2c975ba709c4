"""`revenant call`: sends a message and prints its reply, which is a commit receipt."""

from __future__ import annotations

from collections.abc import Sequence

import click

from revenant.app import Revenant
from revenant.cli.arguments import Seconds, json_of, message_arguments
from revenant.cli.messages import message_of
from revenant.cli.option import option
from revenant.cli.options import app_option, application
from revenant.entities.message import Message
from revenant.eventloop import run


@click.command()
@message_arguments
@option(
    "--timeout",
    type=Seconds(),
    help="Seconds to wait for the reply; 5 unless the settings say otherwise.",
)
@option("--idempotency-key", metavar="KEY", help="Sent again with the same key, it returns the first reply.")
@app_option()
def call(
    *,
    kind: str,
    key: str,
    handler: str,
    pairs: Sequence[str],
    args: str | None,
    timeout: float | None,
    idempotency_key: str | None,
    app_path: str | None,
) -> None:
    """Call HANDLER of the entity KIND KEY, and print the reply as JSON.

    A value is read as JSON where it is JSON, else as text: amount=5, name=Ada, 'tags=["a"]', 'zip="01234"'.
    With --app the arguments are checked by the class before anything is sent.
    """
    app = application(app_path)
    message = message_of(app, kind, key, handler, json_of(pairs, args))
    click.echo(run(_call(app, message, timeout, idempotency_key)))


async def _call(app: Revenant, message: Message[str], timeout: float | None, idempotency_key: str | None) -> str:
    async with app:
        return await app.call(message, timeout=timeout, idempotency_key=idempotency_key)

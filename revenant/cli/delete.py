"""`revenant delete`: ends an entity, through its mailbox like everything else."""

from __future__ import annotations

import click

from revenant.app import Revenant
from revenant.cli.arguments import Seconds
from revenant.cli.failures import not_found
from revenant.cli.option import option
from revenant.cli.options import app_option, application
from revenant.cli.served import require_somebody
from revenant.codec import check_key
from revenant.eventloop import run


@click.command()
@click.argument("kind")
@click.argument("key")
@option("--timeout", type=Seconds(), help="Seconds to wait for the receipt.")
@app_option()
def delete(kind: str, key: str, timeout: float | None, app_path: str | None) -> None:
    """End the entity KIND KEY, in order with its other messages; the next message starts afresh.

    Exits with 3 where there is no state; nothing is sent where no live worker serves the kind either.
    """
    if not run(_delete(application(app_path), kind, check_key(kind, key), timeout)):
        raise not_found(f"{kind}({key!r}) had no state; nothing was deleted.")
    click.echo(f"{kind}({key!r}) is deleted.", err=True)


async def _delete(app: Revenant, kind: str, key: str, timeout: float | None) -> bool:
    await require_somebody(app, kind, key, or_state=True)
    async with app:
        return await app.delete(app.ref(kind, key), timeout=timeout)

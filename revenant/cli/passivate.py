"""`revenant passivate`: has an entity flushed and out of memory, through its mailbox like everything else."""

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
def passivate(kind: str, key: str, timeout: float | None, app_path: str | None) -> None:
    """Have the entity KIND KEY flushed and out of memory, in order with its messages; the next one loads it again."""
    if not run(_passivate(application(app_path), kind, check_key(kind, key), timeout)):
        raise not_found(f"{kind}({key!r}) was in no worker's memory; there was nothing to flush.")
    click.echo(f"{kind}({key!r}) is flushed and out of memory.", err=True)


async def _passivate(app: Revenant, kind: str, key: str, timeout: float | None) -> bool:
    await require_somebody(app, kind, key, or_state=False)
    async with app:
        return await app.passivate(app.ref(kind, key), timeout=timeout)

"""`revenant mailbox`: the messages that wait for one entity, or run: to look at, and to take out."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import click

from revenant.app import Revenant
from revenant.cli.failures import not_found, refused
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.ordered import Ordered
from revenant.cli.output import output_option, print_pages
from revenant.codec import check_key
from revenant.eventloop import run
from revenant.queue.burying import Kept, Mailbox, bury_waiting
from revenant.queue.burying import mailbox as messages_of
from revenant.queue.dead import find_dead
from revenant.queue.views import Connection, limited, waiting

COLUMNS = ("id", "handler", "args", "sent_as", "attempts", "sent_at")


@click.group(cls=Ordered)
def mailbox() -> None:
    """Messages that wait for an entity; those of a run wait for KIND run:WORKFLOW, KEY its id."""


@mailbox.command("ls")
@click.argument("kind")
@click.argument("key")
@option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@output_option
@app_option()
def list_mailbox(kind: str, key: str, limit: int | None, output: str, app_path: str | None) -> None:
    """List the messages that wait for the entity KIND KEY, in their order: the first one is handled next."""
    run(_list(application(app_path), kind, check_key(kind, key), limit, output))


@mailbox.command("bury")
@click.argument("kind")
@click.argument("key", required=False)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.UUID)
@option("--by", required=True, metavar="WHO", help="Who takes them out; kept with the dead letters.")
@option("--reason", metavar="TEXT", help="Why; kept with the dead letters, and told to their callers.")
@option(
    "--all", "everything", is_flag=True, envvar="REVENANT_MAILBOX_BURY_ALL",
    help="All that wait for KIND KEY, or without KEY for any of that KIND.",
)  # fmt: skip
@app_option()
def bury(
    *, kind: str, key: str | None, ids: Sequence[UUID], by: str, reason: str | None, everything: bool,
    app_path: str | None,
) -> None:  # fmt: skip
    """Take messages out of the mailbox of KIND KEY: they are not handled, and become dead letters.

    Who waits for the reply of one gets MessageBuried. A handler that has one in hand is refused its commit. Nothing is
    lost: revenant dead retry puts them back, as the last ones of their mailbox.
    """
    if everything == bool(ids):
        raise click.UsageError("Give KIND, KEY and the ids of messages, or --all.")
    if not by:
        raise click.UsageError("Say by whom: --by is empty.")
    wanted = [str(given) for given in ids]
    app = application(app_path)
    buried, known = run(_bury(app, kind, key, wanted, by=by, reason=reason))
    for message_id in buried:
        click.echo(message_id)
    before = f"; {len(known)} had been before" if known else ""
    click.echo(f"{len(buried)} taken out, and kept as dead letters{before}.", err=True)
    if missing := [given for given in wanted if given not in buried and given not in known]:
        raise not_found(
            f"Not waiting for {kind}({key!r}), or handled meanwhile: {', '.join(missing)}. `revenant mailbox ls` lists "
            "what waits."
        )


async def _list(app: Revenant, kind: str, key: str, limit: int | None, output: str) -> None:
    async with looking(app) as connection:
        await print_pages(output, COLUMNS, limited(messages_of(connection, kind, key), limit), short=("args",))


async def _bury(
    app: Revenant, kind: str, key: str | None, ids: Sequence[str], *, by: str, reason: str | None
) -> tuple[list[str], list[str]]:
    async with looking(app) as connection:
        buried: list[str] = []
        for box in [Mailbox(kind, check_key(kind, key))] if key is not None else await _boxes(connection, kind):
            buried += await _empty(connection, app, box, ids, by=by, reason=reason)
        known = [given for given in ids if given not in buried and await find_dead(connection, given) is not None]
        return buried, known


async def _boxes(connection: Connection, kind: str) -> list[Mailbox]:
    return [Mailbox(kind, row["key"]) async for page in waiting(connection, kind, after=None) for row in page]


async def _empty(
    connection: Connection, app: Revenant, box: Mailbox, ids: Sequence[str], *, by: str, reason: str | None
) -> list[str]:
    done: list[str] = []
    while True:
        came = await bury_waiting(connection, box, ids or None, by=by, reason=reason, settings=app.settings)
        if isinstance(came, Kept):
            raise refused(
                f"{box.kind}({box.key!r}) lives in the memory of worker {came.worker}, which has its messages in hand. "
                f"Nothing was taken out of its mailbox. `revenant passivate` it first, or stop that worker."
            )
        done += came
        if ids or not came:
            return done

"""`revenant dead`: messages that failed for the last time: to look at, to send again, to drop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import click

from revenant.app import Revenant
from revenant.cli.emptiness import doubt_kind
from revenant.cli.failures import not_found
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.ordered import Ordered
from revenant.cli.output import output_option, print_pages, print_record
from revenant.eventloop import run
from revenant.queue.dead import dead_letters, drop, find_dead, retry
from revenant.queue.views import Connection, Row, limited

COLUMNS = ("id", "kind", "key", "handler", "attempts", "type", "message", "died_at", "answered")
Deed = Callable[[Connection, Sequence[str]], Awaitable[list[str]]]


@click.group(cls=Ordered)
def dead() -> None:
    """Dead letters: messages that failed for the last time, or were taken out of their mailboxes."""


@dead.command("ls")
@option("--kind", help="Only those of this kind.")
@option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@output_option
@app_option()
def list_dead(kind: str | None, limit: int | None, output: str, app_path: str | None) -> None:
    """List dead letters; those that are `answered` were calls, and their callers know."""
    run(_list(app_path, kind, limit, output))


@dead.command("show")
@click.argument("message_id", metavar="ID", type=click.UUID)
@output_option
@app_option()
def show_dead(message_id: UUID, output: str, app_path: str | None) -> None:
    """Show one dead letter: its arguments, its error, the traceback of the last attempt."""
    found = run(_show(application(app_path), str(message_id)))
    if found is None:
        raise not_found(f"There is no dead letter {message_id}. `revenant dead ls` lists them.")
    print_record(output, found)


@dead.command("retry")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.UUID)
@option("--all", "everything", is_flag=True, envvar="REVENANT_DEAD_RETRY_ALL", help="All that there are now.")
@app_option()
def retry_dead(ids: Sequence[UUID], everything: bool, app_path: str | None) -> None:
    """Put dead letters back into their mailboxes, as if they had just been sent.

    --all leaves those out whose callers were told that they failed: name these.
    """
    _do(retry, "sent again", ids, everything, app_path)


@dead.command("drop")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.UUID)
@option("--all", "everything", is_flag=True, envvar="REVENANT_DEAD_DROP_ALL", help="All that there are now.")
@app_option()
def drop_dead(ids: Sequence[UUID], everything: bool, app_path: str | None) -> None:
    """Remove dead letters for good."""
    _do(drop, "dropped", ids, everything, app_path)


def _do(deed: Deed, done_word: str, ids: Sequence[UUID], everything: bool, app_path: str | None) -> None:
    if everything == bool(ids):
        raise click.UsageError("Give the ids of dead letters, or --all.")
    wanted = [str(given) for given in ids]
    done, left_out = run(_each(application(app_path), deed, None if everything else wanted))
    for message_id in done:
        click.echo(message_id)
    click.echo(f"{len(done)} {done_word}.", err=True)
    if left_out:
        was, these = ("was", "it") if left_out == 1 else ("were", "these")
        click.echo(f"{left_out} {was} left out: the callers were told that they failed. Name {these} by id.", err=True)
    if missing := [given for given in wanted if given not in done]:
        raise not_found(f"There is no dead letter {', '.join(missing)}. `revenant dead ls` lists them.")


async def _each(app: Revenant, deed: Deed, ids: Sequence[str] | None) -> tuple[list[str], int]:
    async with looking(app) as connection:
        if ids is not None:
            return await deed(connection, ids), 0
        done: list[str] = []
        left_out = 0
        async for page in dead_letters(connection):
            # The caller of an answered one was told that it failed, and may have sent anew: that takes a decision.
            chosen = [row["id"] for row in page if deed is not retry or not row["answered"]]
            done += await deed(connection, chosen)
            left_out += len(page) - len(chosen)
        return done, left_out


async def _list(app_path: str | None, kind: str | None, limit: int | None, output: str) -> None:
    app = application(app_path)
    async with looking(app) as connection:
        pages = limited(dead_letters(connection, kind=kind), limit)
        if not await print_pages(output, COLUMNS, pages, short=("message",)):
            await doubt_kind(app, app_path, connection, kind)


async def _show(app: Revenant, message_id: str) -> Row | None:
    async with looking(app) as connection:
        return await find_dead(connection, message_id)

"""`revenant ls`: kinds, and the entities of a kind."""

from __future__ import annotations

import click

from revenant.cli.emptiness import doubt_kind
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.output import output_option, print_pages
from revenant.codec import RUN_KIND
from revenant.eventloop import run
from revenant.queue.views import entities, kinds, limited, residents, waiting

KIND_COLUMNS = ("kind", "entities", "waiting", "scheduled", "dead")
ENTITY_COLUMNS = ("key", "version", "vsn", "updated_at", "waiting")
RESIDENT_COLUMNS = ("kind", "key", "worker", "alive", "since", "pending")


@click.command()
@click.argument("kind", required=False)
@option("--waiting", "only_waiting", is_flag=True, envvar="REVENANT_LS_WAITING", help="Only what has waiting messages.")
@option("--resident", is_flag=True, help="Only what lives in a worker's memory, and in whose.")
@option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@option("--after", metavar="KEY", help="Go on behind this key, the last one of an earlier listing.")
@output_option
@app_option()
def ls(
    *,
    kind: str | None,
    only_waiting: bool,
    resident: bool,
    limit: int | None,
    after: str | None,
    output: str,
    app_path: str | None,
) -> None:
    """List the entities of KIND, or all kinds with their counts.

    Entities come in a fixed order of their own (by bucket, then key), a page at a time, however many there are.
    """
    if kind is None and after is not None:
        raise click.UsageError("--after goes with a KIND.")
    if resident and only_waiting:
        raise click.UsageError("--resident and --waiting are two lists; ask for one of them.")
    run(_list(app_path, kind, limit, output, only_waiting=only_waiting, resident=resident, after=after))


async def _list(
    app_path: str | None,
    kind: str | None,
    limit: int | None,
    output: str,
    *,
    only_waiting: bool,
    resident: bool,
    after: str | None,
) -> None:
    app = application(app_path)
    async with looking(app) as connection:
        if resident:
            pages = residents(connection, kind, after=after)
            await print_pages(output, RESIDENT_COLUMNS, limited(pages, limit))
            return
        if kind is None:
            pages = kinds(connection, only_waiting=only_waiting)
        elif only_waiting:
            pages = waiting(connection, kind, after=after)
        else:
            pages = entities(connection, kind, after=after)
        columns = KIND_COLUMNS if kind is None else ENTITY_COLUMNS
        if kind is not None and kind.startswith(RUN_KIND):
            click.echo(f"Runs are listed by `revenant run ls --workflow {kind.removeprefix(RUN_KIND)}`.", err=True)
        if not await print_pages(output, columns, limited(pages, limit)) and after is None and not only_waiting:
            await doubt_kind(app, app_path, connection, kind)

"""`revenant run export`: runs as JSON lines, for an archive."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import click

from revenant.cli.arguments import Moment
from revenant.cli.emptiness import doubt_workflow
from revenant.cli.failures import not_found
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.eventloop import run
from revenant.queue.archive import GONE_PAGE, as_json, ended_runs, expire_runs, release
from revenant.queue.views import Connection, Row
from revenant.workflows.workflow import KIND


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@option(
    "--version",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only runs of this version.",
)
@option("--before", type=Moment(), metavar="ISO", help="Only those that ended before: 2026-01-31T08:00:00+01:00.")
@option(
    "--to",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    show_default=True,
    help="The file to write; an existing one is not overwritten. - is stdout.",
)
@option(
    "--remove",
    is_flag=True,
    envvar="REVENANT_RUN_EXPORT_REMOVE",
    help="Remove the runs that have ended, once they are written.",
)
@app_option()
def export(
    *,
    ids: Sequence[str],
    workflow: str | None,
    version: int | None,
    before: datetime | None,
    path: Path,
    remove: bool,
    app_path: str | None,
) -> None:
    """Write runs that have ended, or those with these IDs, as JSON lines: one object per run, with all its events.

    `events` are those of its current history; `earlier` has the histories before that, the latest first.
    """
    written, removed = run(_export(app_path, workflow, path, remove=remove, keys=ids, before=before, version=version))
    if ids and not written:
        of = "" if version is None else f" of version {version}"
        raise not_found(
            f"There is no run {', '.join(ids)}{of}. `revenant run export` without an id writes all that ended."
        )
    gone = f", {removed} of them removed" if remove else ""
    click.echo(f"{written} {'run' if written == 1 else 'runs'} written{gone}.", err=True)


async def _export(
    app_path: str | None, workflow: str | None, path: Path, *, remove: bool, **asked: Any
) -> tuple[int, int]:
    app, kind = application(app_path), None if workflow is None else f"{KIND}{workflow}"
    written = removed = 0
    async with looking(app) as connection, _opened(path) as file:
        async for page in ended_runs(connection, kind=kind, **asked):
            for found in page:
                async for piece in as_json(connection, found):
                    file.write(piece)
                file.write("\n")
                written += 1
            if remove:
                _secure(file)
                removed += await _remove(connection, page)
        if not written and not asked["keys"]:
            await doubt_workflow(app, app_path, connection, workflow)
    return written, removed


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[TextIO]:
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        file = path.open("x", encoding="utf-8")  # nothing else goes on in this process
    except OSError as error:
        raise click.ClickException(
            f"{path} cannot be written: {error.strerror}. Name a file that is not there."
        ) from None
    with file:
        yield file
        _secure(file)


def _secure(file: TextIO) -> None:
    """Have what was written survive this machine, where it is a file, before anything is removed."""
    file.flush()
    if file is not sys.stdout:
        os.fsync(file.fileno())


async def _remove(connection: Connection, page: Sequence[Row]) -> int:
    gone = [await release(connection, found) for found in page]
    while await expire_runs(connection, page=GONE_PAGE) >= GONE_PAGE:
        pass  # a page at a time, so that no transaction is long
    return sum(gone)

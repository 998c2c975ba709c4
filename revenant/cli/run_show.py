"""`revenant run show|history`: one run: where it stands, as a timeline of what its code asked for; and its events."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from pydantic_core import to_json

from revenant.cli.options import app_option, application
from revenant.cli.output import output_option, print_rows
from revenant.cli.run_finding import with_run, workflow_option
from revenant.cli.timeline import print_timeline
from revenant.eventloop import run

EVENT_COLUMNS = ("seq", "at", "type", "op", "data")


@click.command()
@click.argument("id", metavar="ID")
@workflow_option
@output_option
@app_option()
def show(*, id: str, workflow: str | None, output: str, app_path: str | None) -> None:
    """Show the run ID: where it stands, and a timeline of its steps, waits and timers.

    Above it are its result, why it was cancelled, parked or blocked, what ended it, and what could not be undone.
    """
    _, found = run(with_run(application(app_path), id, workflow, lambda found: found.describe()))
    if output == "table":
        print_timeline(found)
    elif output == "json":
        click.echo(to_json(asdict(found), indent=2))
    else:
        told: dict[str, Any] = asdict(found)
        print_rows(output, tuple(told), [told])


@click.command()
@click.argument("id", metavar="ID")
@workflow_option
@output_option
@app_option()
def history(*, id: str, workflow: str | None, output: str, app_path: str | None) -> None:
    """List the events of the run ID, all of its current history in order."""
    _, found = run(with_run(application(app_path), id, workflow, lambda found: found.history()))
    print_rows(output, EVENT_COLUMNS, [one._asdict() for one in found])

"""`revenant demo`: every flight of a file told to its aircraft, with workers killed on the way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from revenant.cli.option import option
from revenant.demo.data import default_data
from revenant.demo.logbook import Logbook
from revenant.demo.play import play
from revenant.demo.screen import Screen, show
from revenant.errors import ConfigurationError
from revenant.trial.stage import perform


@click.command()
@option("--data", type=click.Path(path_type=Path), help="CSV file of flights, plain or gzipped.")
@option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Worker processes.")
@option("--kill", type=click.IntRange(0), default=1, show_default=True, help="Workers to kill (SIGKILL).")
@option("--keep", is_flag=True, help="Keep the entities afterwards, to look at.")
@option("--json", "as_json", is_flag=True, envvar="REVENANT_DEMO_JSON", help="One JSON object, no table.")
def demo(data: Path | None, workers: int, kill: int, keep: bool, as_json: bool) -> None:
    """Tell 27,004 flights to their aircraft, kill a worker on the way, and compare every state with the file.

    Runs on DATABASE_URL, else on the embedded Postgres, with entities of its own, which it removes at the end.
    Exits with 1 when anything was lost, doubled or mixed up.
    """
    if kill >= workers:
        raise click.UsageError(
            f"--kill {kill} would leave none of {workers} workers; give it fewer, or more --workers."
        )
    try:
        logbook = Logbook(data or default_data())
        rows = logbook.check()
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    with Screen() as screen:
        result = perform(play(logbook=logbook, rows=rows, workers=workers, kill=kill, keep=keep, screen=screen))
        if keep:
            screen.say(f"The entities are kept; their kind is demo.Aircraft, and their keys begin with {result.run}/.")
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result)))
    else:
        show(result)
    if not result.clean:
        raise click.exceptions.Exit(1)

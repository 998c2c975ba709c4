"""`revenant demo`: a file of flights as messages, or as workflows, with workers killed on the way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from revenant.cli.option import option
from revenant.demo.data import default_data
from revenant.demo.logbook import Logbook
from revenant.demo.ops.play import play_ops
from revenant.demo.ops.result import OpsResult
from revenant.demo.ops.screen import show_ops
from revenant.demo.play import play
from revenant.demo.result import Result
from revenant.demo.screen import Screen, show
from revenant.errors import ConfigurationError
from revenant.trial.stage import perform

R = TypeVar("R", Result, OpsResult)
F = TypeVar("F", bound=Callable[..., object])
_OPTIONS = (
    option("--data", type=click.Path(path_type=Path), help="CSV file of flights, plain or gzipped."),
    option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Worker processes."),
    option("--kill", type=click.IntRange(0), default=1, show_default=True, help="Workers to kill (SIGKILL)."),
)


def _about(function: F) -> F:
    """Add the options that both demos have."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


@click.group(invoke_without_command=True)
@_about
@option("--keep", is_flag=True, help="Keep the entities afterwards, to look at.")
@option("--json", "as_json", is_flag=True, envvar="REVENANT_DEMO_JSON", help="One JSON object, no table.")
@click.pass_context
def demo(ctx: click.Context, *, data: Path | None, workers: int, kill: int, keep: bool, as_json: bool) -> None:
    """Tell 27,004 flights to their aircraft, kill a worker on the way, and compare every state with the file.

    Runs on DATABASE_URL, else on the embedded Postgres, with entities of its own, which it removes at the end.
    Exits with 1 when anything was lost, doubled or mixed up.
    """
    if ctx.invoked_subcommand is not None:
        return
    logbook, rows = _read(data, workers, kill)
    with Screen() as screen:
        result = perform(play(logbook=logbook, rows=rows, workers=workers, kill=kill, keep=keep, screen=screen))
        if keep:
            screen.say(f"The entities are kept; their kind is demo.Aircraft, and their keys begin with {result.run}/.")
    _tell(result, show, as_json=as_json)


@demo.command(name="workflows")
@_about
@option("--keep", is_flag=True, help="Keep the runs and ledgers afterwards, to look at.")
@option("--json", "as_json", is_flag=True, envvar="REVENANT_DEMO_WORKFLOWS_JSON", help="One JSON object, no table.")
def demo_workflows(*, data: Path | None, workers: int, kill: int, keep: bool, as_json: bool) -> None:
    """Compensate every late flight by a run of a workflow, kill a worker on the way, and compare the ledgers.

    Each run reckons what is owed (a step), asks where it is much (an approval), tells the passengers (a job), and books
    it in the airline's ledger (an entity). Exits with 1 when anything was lost, doubled or mixed up.
    """
    logbook, _ = _read(data, workers, kill)
    with Screen() as screen:
        result = perform(play_ops(logbook=logbook, workers=workers, kill=kill, keep=keep, screen=screen))
        if keep:
            screen.say(
                f"The runs are kept; their workflow is demo.compensate, and their ids begin with {result.run}/. So are "
                f"the ledgers, of kind demo.Ledger."
            )
    _tell(result, show_ops, as_json=as_json)


def _read(data: Path | None, workers: int, kill: int) -> tuple[Logbook, int]:
    """Return the file and how many rows it has; what cannot be done is a mistake in the command."""
    if kill >= workers:
        raise click.UsageError(
            f"--kill {kill} would leave none of {workers} workers; give it fewer, or more --workers."
        )
    try:
        logbook = Logbook(data or default_data())
        return logbook, logbook.check()
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error


def _tell(result: R, show: Callable[[R], None], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result)))
    else:
        show(result)
    if not result.clean:
        raise click.exceptions.Exit(1)

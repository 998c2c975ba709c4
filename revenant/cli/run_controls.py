"""`revenant run signal|cancel|park|resume|requeue|migrate`: what is done to a run; recorded when the command ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click

from revenant.cli.option import option
from revenant.cli.options import app_option, application
from revenant.cli.run_finding import timeout_option, with_run, workflow_option
from revenant.cli.run_start import input_of
from revenant.cli.run_told import Told, cancelled, migrated, parked, requeued, resumed
from revenant.client.run import Run
from revenant.eventloop import run
from revenant.workflows.standing import Standing

F = TypeVar("F", bound=Callable[..., Any])

reason_option = option("--reason", metavar="TEXT", help="Why; it is kept with the run.")


def _common(command: F) -> F:
    return click.argument("id", metavar="ID")(workflow_option(timeout_option(app_option()(command))))


def _do(
    id: str, workflow: str | None, app_path: str | None, deed: Callable[[Run[Any]], Awaitable[Standing]], told: Told
) -> None:
    name, stood = run(with_run(application(app_path), id, workflow, deed))
    click.echo(told(f"Run {id!r} of {name}", id, stood), err=True)


@click.command()
@click.argument("id", metavar="ID")
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[JSON | NAME=VALUE...]")
@option("--id", "signal_id", metavar="ID", envvar="REVENANT_RUN_SIGNAL_ID", help="Sent again with it, it counts once.")
@workflow_option
@timeout_option
@app_option()
def signal(
    *,
    id: str,
    name: str,
    words: Sequence[str],
    signal_id: str | None,
    workflow: str | None,
    timeout: float | None,
    app_path: str | None,
) -> None:
    """Send the signal NAME to the run ID, with one JSON document, or an object of named values."""
    payload = input_of(words)
    of, counts = run(
        with_run(
            application(app_path), id, workflow,
            lambda found: found.signal(name, payload, id=signal_id, timeout=timeout),
        )
    )  # fmt: skip
    before = f"had a signal with the id {signal_id!r} before; nothing was done"
    click.echo(f"Run {id!r} of {of} {f'has the signal {name!r}' if counts else before}.", err=True)


@click.command()
@_common
@reason_option
def cancel(*, id: str, reason: str | None, workflow: str | None, timeout: float | None, app_path: str | None) -> None:
    """Have the run ID end: its steps are cancelled, and what it registered is undone.

    Where the code that undoes is nowhere, the run is blocked until it is back, or until it is cancelled once more: then
    it ends, and names what was not undone.
    """
    _do(id, workflow, app_path, lambda found: found.cancel(reason, timeout=timeout), cancelled)


@click.command()
@_common
@reason_option
def park(*, id: str, reason: str | None, workflow: str | None, timeout: float | None, app_path: str | None) -> None:
    """Have the run ID begin nothing new until it is resumed; what is under way ends, and is recorded."""
    _do(id, workflow, app_path, lambda found: found.park(reason, timeout=timeout), parked)


@click.command()
@_common
def resume(*, id: str, workflow: str | None, timeout: float | None, app_path: str | None) -> None:
    """Have the parked run ID go on."""
    _do(id, workflow, app_path, lambda found: found.resume(timeout=timeout), resumed)


@click.command()
@_common
def requeue(*, id: str, workflow: str | None, timeout: float | None, app_path: str | None) -> None:
    """Have the blocked run ID tried again, failed attempts at once, and deaths of workers forgotten."""
    _do(id, workflow, app_path, lambda found: found.requeue(timeout=timeout), requeued)


@click.command()
@_common
@option(
    "--to", "version", type=click.IntRange(min=1), metavar="N", help="The version; else the newest that a worker has."
)
def migrate(*, id: str, version: int | None, workflow: str | None, timeout: float | None, app_path: str | None) -> None:
    """Have the run ID go on with another version of its workflow's code.

    The code is run along the whole history: where that does not fit, the run is blocked, and can be moved back.
    """
    _do(id, workflow, app_path, lambda found: found.migrate(version, timeout=timeout), migrated)

"""`revenant approvals`: which questions of runs wait for whom, and a person's answer to one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import click

from revenant.cli.emptiness import doubt_workflow
from revenant.cli.kinds import workflow_of
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.ordered import Ordered
from revenant.cli.output import output_option, print_pages
from revenant.cli.run_finding import require_run, timeout_option
from revenant.client.run import Run
from revenant.eventloop import run
from revenant.queue.approvals import approvals as all_approvals
from revenant.queue.views import limited
from revenant.workflows.workflow import KIND

COLUMNS = ("workflow", "run_id", "name", "assignee", "about", "asked_at", "due")
ALL = (*COLUMNS, "form")
"""The form's JSON schema is for programs."""
by_option = option("--by", required=True, metavar="WHO", help="Who answers; recorded in the run's history.")


@click.group(cls=Ordered)
def approvals() -> None:
    """Questions of runs that wait for a person."""


@approvals.command("ls")
@option("--assignee", metavar="WHO", help="Only those that wait for this one.")
@option("--workflow", metavar="NAME", help="Only those of this workflow.")
@option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@output_option
@app_option()
def list_approvals(
    assignee: str | None, workflow: str | None, limit: int | None, output: str, app_path: str | None
) -> None:
    """List the approvals that wait, the oldest first."""
    run(_list(app_path, assignee, workflow, limit, output))


@approvals.command("approve")
@click.argument("workflow")
@click.argument("run_id")
@click.argument("name")
@by_option
@option("--form", metavar="JSON", help="The form, filled in.")
@timeout_option
@app_option()
def approve(
    *, workflow: str, run_id: str, name: str, by: str, form: str | None, timeout: float | None, app_path: str | None
) -> None:
    """Approve what the run RUN_ID of WORKFLOW asks under NAME."""
    filled = _json(form)
    _answer(app_path, workflow, run_id, lambda asked: asked.approve(name, by=by, form=filled, timeout=timeout))
    click.echo("Approved.", err=True)


@approvals.command("reject")
@click.argument("workflow")
@click.argument("run_id")
@click.argument("name")
@by_option
@option("--reason", metavar="TEXT", help="Why; recorded in the run's history.")
@timeout_option
@app_option()
def reject(
    *, workflow: str, run_id: str, name: str, by: str, reason: str | None, timeout: float | None, app_path: str | None
) -> None:
    """Reject what the run RUN_ID of WORKFLOW asks under NAME."""
    _answer(app_path, workflow, run_id, lambda asked: asked.reject(name, by=by, reason=reason, timeout=timeout))
    click.echo("Rejected.", err=True)


async def _list(
    app_path: str | None, assignee: str | None, workflow: str | None, limit: int | None, output: str
) -> None:
    app = application(app_path)
    kind = None if workflow is None else f"{KIND}{workflow}"
    async with looking(app) as connection:
        pages = limited(all_approvals(connection, assignee=assignee, kind=kind), limit)
        if not await print_pages(output, COLUMNS if output == "table" else ALL, pages, short=("about",)):
            await doubt_workflow(app, app_path, connection, workflow)


def _answer(app_path: str | None, workflow: str, run_id: str, answer: Callable[[Run[Any]], Awaitable[None]]) -> None:
    app = application(app_path)
    if app_path:
        workflow_of(app, workflow)

    async def send() -> None:
        await require_run(app, workflow, run_id)
        async with app:
            await answer(app.run(workflow, run_id))

    run(send())


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"This is not JSON: {error}.", param_hint="--form") from error

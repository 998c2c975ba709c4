"""`revenant run ls|stuck`: runs, the youngest first; and those that do not go on, with why and what to type."""

from __future__ import annotations

import click

from revenant.cli.emptiness import doubt_workflow
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.cli.output import output_option, print_pages, print_rows
from revenant.cli.run_finding import find_run
from revenant.cli.typed import typed
from revenant.eventloop import run
from revenant.queue.runviews import runs, stuck_runs
from revenant.queue.views import Row, limited
from revenant.wording import raised
from revenant.workflows.workflow import KIND

COLUMNS = ("workflow", "id", "status", "version", "events", "started_at", "updated_at", "ended_at")
SPARE = ("updated_at", "ended_at", "events", "version")
STUCK_COLUMNS = ("workflow", "id", "reason", "since", "problem", "what_to_type")
STATUSES = ("running", "waiting", "parked", "blocked", "completed", "failed", "cancelled")
_CURES = {
    "blocked": "requeue",
    "parked": "resume",
    "no version": "migrate",
}
"""What is done about a run, where that is to be seen without looking at it."""
_SEEN = {
    "no version": "no live worker has version {version} of the workflow",
    "no worker": "no live worker serves the workflow",
    "no cell": "an attempt that was under way when workers died has waited for more than a minute for a cell",
    "slow": "an attempt has been under way for more than ten minutes",
}
"""What can be said of a run of which nothing is recorded."""


@click.command("ls")
@option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@option("--status", type=click.Choice(STATUSES), help="Only those that stand there.")
@option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@option("--after", metavar="ID", help="Go on behind this run, the last one of an earlier listing.")
@output_option
@app_option()
def list_runs(
    *,
    workflow: str | None,
    status: str | None,
    limit: int | None,
    after: str | None,
    output: str,
    app_path: str | None,
) -> None:
    """List runs, the youngest first, a page at a time, however many there are."""
    run(
        _list(
            app_path, workflow=workflow, status=status, limit=limit, after=after, output=output,
        )
    )  # fmt: skip


async def _list(
    app_path: str | None,
    *,
    workflow: str | None,
    status: str | None,
    limit: int | None,
    after: str | None,
    output: str,
) -> None:
    app = application(app_path)
    async with looking(app) as connection:
        behind = None if after is None else await find_run(connection, after, workflow)
        kind = None if workflow is None else f"{KIND}{workflow}"
        pages = runs(connection, kind=kind, status=status, after=behind)
        if not await print_pages(output, COLUMNS, limited(pages, limit), spare=SPARE):
            await doubt_workflow(app, app_path, connection, workflow)


@click.command("stuck")
@option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@option("--limit", type=click.IntRange(min=1), metavar="N", default=1000, show_default=True, help="Stop after so many.")
@output_option
@app_option()
def list_stuck(*, workflow: str | None, limit: int, output: str, app_path: str | None) -> None:
    """List runs that do not go on by themselves, or have not for long, and what to type.

    They are blocked or parked, have failed within a day, have ended and left what was not undone, wait for a workflow
    or a version that no live worker has, or have an attempt under way for more than ten minutes. One that has ended is
    not listed any more once somebody has seen to it: revenant run resolve.
    """
    found = run(_stuck(app_path, workflow, limit))
    print_rows(
        output,
        STUCK_COLUMNS,
        [{**row, "problem": problem_of(row), "what_to_type": cure_of(row)} for row in found],
        short=("problem",),
    )


async def _stuck(app_path: str | None, workflow: str | None, limit: int) -> list[Row]:
    app = application(app_path)
    async with looking(app) as connection:
        if not (found := await stuck_runs(connection, workflow=workflow, limit=limit)):
            await doubt_workflow(app, app_path, connection, workflow)
        return found


def problem_of(row: Row) -> str | None:
    """Return why a run is stuck: what is recorded of that, or what is seen."""
    if row["reason"] == "failed" and not row["step_failed"]:
        return raised(row["error_type"], row["problem"] or "")
    if row["problem"] is not None:
        return str(row["problem"])
    seen = _SEEN.get(row["reason"], "").format(**row)
    return f"it has not begun: {seen}" if row["status"] == "not begun" else seen or None


def cure_of(row: Row) -> str:
    """Return what to type about a run that is stuck; where no step failed, there is none to go on from."""
    id, workflow, reason = row["id"], row["workflow"] if row["shared"] else None, row["reason"]
    if reason == "no worker":
        return "revenant worker --app module:attribute"
    if reason == "failed" and row["step_failed"] and not row["undone"]:
        # A fork from the step that failed would take for done what is undone.
        return typed("revenant run fork", id, f"{id}-again", workflow=workflow)
    shown = typed("revenant run show", id, workflow=workflow)
    if reason == "not undone":
        return f"{shown}, mend it, then {typed('revenant run resolve --by WHO', id, workflow=workflow)}"
    return typed(f"revenant run {_CURES[reason]}", id, workflow=workflow) if reason in _CURES else shown

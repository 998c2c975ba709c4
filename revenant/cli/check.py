"""`revenant check`: what is wrong, and what to type."""

from __future__ import annotations

from dataclasses import asdict

import click
import psycopg

from revenant.app import Revenant
from revenant.cli.failures import FAILED, UNREACHABLE
from revenant.cli.option import option
from revenant.cli.options import app_option, application, configure_logging
from revenant.cli.output import output_option, print_rows
from revenant.config import MOST
from revenant.errors import DatabaseUnavailable
from revenant.eventloop import run
from revenant.queue.connection import unavailable
from revenant.queue.diagnosis import Finding, Plans, connections_of, diagnose
from revenant.queue.facts import gather
from revenant.sql import address
from revenant.worker.worker import RESIDENCES, RUNNERS

COLUMNS = ("check", "status", "found", "what_to_type")


@click.command()
@option("--processes", type=click.IntRange(min=0, max=MOST), help="Worker processes that are to run; as configured.")
@option("--lanes", type=click.IntRange(min=1, max=MOST), help="Lanes of each; as configured.")
@option("--jobs", type=click.IntRange(min=0, max=MOST), help="Jobs that each runs at a time; as configured.")
@output_option
@app_option()
def check(processes: int | None, lanes: int | None, jobs: int | None, output: str, app_path: str | None) -> None:
    """Look for what is wrong, and say what to type. Exits 1 when something fails, 4 when there is no database."""
    configure_logging("critical")
    app = application(app_path)
    given = {"processes": processes, "lanes": lanes, "jobs": jobs if app.jobs or not app_path else 0}
    settings = app.settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    plans = Plans(
        connections=connections_of(
            lanes=settings.lanes,
            jobs=settings.jobs,
            processes=max(1, settings.processes),
            residences=min(settings.lanes, RESIDENCES) if app.registry.relaxed else 0,
            runners=RUNNERS if app.workflows else 0,
            cells=settings.cells if app.workflows else 0,
        ),
        kinds=sorted((*app.registry.kinds, *app.workflows.kinds)),
        app=app_path or "module:attribute",
    )
    findings, code = run(_findings(app, plans))
    print_rows(output, COLUMNS, [{**asdict(finding), "what_to_type": finding.cure} for finding in findings])
    click.get_current_context().exit(code)


async def _findings(app: Revenant, plans: Plans) -> tuple[list[Finding], int]:
    try:
        url = await app.prepare()
        try:
            facts = await gather(url)
        except (psycopg.Error, OSError) as error:
            raise unavailable(url, error) from error
    except DatabaseUnavailable as error:
        found = str(error).removesuffix("; `revenant check` tells more.")
        return [Finding("database", "fail", found, "Start Postgres, or mend DATABASE_URL")], UNREACHABLE
    finally:
        app.release()
    findings = [Finding("database", "ok", f"Reached {address(url)}"), *diagnose(facts, plans)]
    return findings, FAILED if any(finding.status == "fail" for finding in findings) else 0

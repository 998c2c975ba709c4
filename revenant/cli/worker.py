"""`revenant worker`: serves entities until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence

import click

from revenant.app import Revenant
from revenant.cli.arguments import Seconds
from revenant.cli.monitoring import metrics_module, monitored
from revenant.cli.option import option
from revenant.cli.options import app_option, application, configure_logging
from revenant.config import MOST, Settings
from revenant.eventloop import run
from revenant.sql import address
from revenant.worker.process import GRACE, serve, until_told
from revenant.worker.shutdown import Shutdown
from revenant.worker.supervisor import Supervisor
from revenant.worker.watchdog import Watchdog

log = logging.getLogger("revenant.worker")


@click.command()
@option(
    "--processes",
    type=click.IntRange(min=0, max=MOST),
    envvar="REVENANT_PROCESSES",
    help="Processes to keep running: one that dies is started again. 0, unless configured: it serves itself.",
)
@option(
    "--lanes",
    type=click.IntRange(min=1, max=MOST),
    envvar="REVENANT_LANES",
    help="Connections of each process that run turns; 4 unless configured.",
)
@option(
    "--jobs",
    type=click.IntRange(min=0, max=MOST),
    envvar="REVENANT_JOBS",
    help="procrastinate jobs that each process runs at a time; 0 runs none.",
)
@option("--kinds", metavar="A,B", help="Serve only these kinds; a workflow is run:NAME.")
@option(
    "--drain-timeout",
    type=Seconds(),
    envvar="REVENANT_DRAIN_TIMEOUT",
    help="Seconds that running turns and jobs get when it stops; 25 unless configured.",
)
@option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What to log, on stderr.",
)
@option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to log: lines for people, or a JSON object a line.",
)
@option(
    "--metrics-port",
    type=click.IntRange(min=0, max=65535),
    metavar="PORT",
    help="Serve /metrics for Prometheus, /livez and /readyz there; of several processes each takes the next port.",
)
@option("--supervisor", type=int, hidden=True, help="Set by a supervisor: a pipe that ends when it does.")
@app_option(required=True)
def worker(
    *,
    processes: int | None,
    lanes: int | None,
    jobs: int | None,
    kinds: str | None,
    drain_timeout: float | None,
    log_level: str,
    log_format: str,
    metrics_port: int | None,
    supervisor: int | None,
    app_path: str,
) -> None:
    """Serve the application's entities. Start as many as you like; Postgres arbitrates.

    SIGTERM and Ctrl-C drain: what runs is finished, nothing new is begun. A second signal ends it at once; nothing
    committed is lost either way.
    """
    configure_logging(log_level, log_format)
    app = application(app_path)
    given = {"processes": processes, "lanes": lanes, "jobs": jobs, "drain_timeout": drain_timeout}
    settings = app.settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()] if kinds else None
    try:
        if not settings.processes or supervisor is not None:
            run(serve_app(app, wanted, settings, supervisor, metrics_port))
            return
        if metrics_port is not None:
            metrics_module()  # as above
        app.worker(kinds=wanted, settings=settings)  # what is wrong with it is said once, and not by each child
        words = _child_command(app_path, settings, kinds, log_level, log_format)

        def command(number: int) -> list[str]:
            port = metrics_port and min(metrics_port + number, 65535)
            return [*words, *(("--metrics-port", str(port)) if port is not None else ()), "--supervisor"]

        click.get_current_context().exit(asyncio.run(_supervise(app, command, settings)))
    finally:
        app.release()


async def serve_app(
    app: Revenant,
    kinds: list[str] | None,
    settings: Settings,
    supervisor: int | None = None,
    metrics_port: int | None = None,
) -> None:
    """Serve in this process, until it is told to stop."""
    shutdown = Shutdown(patience=settings.drain_timeout + GRACE, supervisor=supervisor)
    shutdown.install()
    if not await until_told(shutdown, _prepare(app)):
        return
    made = app.worker(kinds=kinds, settings=settings)
    watchdog = Watchdog(handler_timeout=settings.handler_timeout, running=made.running)
    with monitored(metrics_port, alive=watchdog.wrong, ready=made.wrong):
        await serve(made, url=app.url(), drain_timeout=settings.drain_timeout, watchdog=watchdog, shutdown=shutdown)


async def _supervise(app: Revenant, command: Callable[[int], Sequence[str]], settings: Settings) -> int:
    keeper = Supervisor(command=command, processes=settings.processes, drain_timeout=settings.drain_timeout)
    shutdown = keeper.hear()
    return await keeper.run(app.url(), shutdown) if await until_told(shutdown, _prepare(app)) else 0


async def _prepare(app: Revenant) -> None:
    """Have the database ready, and say which it is."""
    url = await app.prepare()
    log.info(
        "Database: %s%s.", address(url), ", the embedded server, as no DATABASE_URL is set" if app.embedded else ""
    )


def _child_command(app_path: str, settings: Settings, kinds: str | None, log_level: str, log_format: str) -> list[str]:
    """Return the command of one child, but for its last words; the database is in the environment, unseen by others."""
    return [
        *(sys.executable, "-m", "revenant", "worker", "--app", app_path, "--processes", "0"),
        *("--lanes", str(settings.lanes), "--jobs", str(settings.jobs)),
        *("--drain-timeout", str(settings.drain_timeout), "--log-level", log_level),
        *("--log-format", log_format),
        *(("--kinds", kinds) if kinds else ()),
    ]

"""`revenant dev`: one worker in the foreground that proves every state it writes."""

from __future__ import annotations

import click

from revenant.cli.options import app_option, application, configure_logging
from revenant.cli.worker import serve_app
from revenant.eventloop import run


@click.command()
@app_option(required=True)
def dev(app_path: str) -> None:
    """Serve the application's entities while you write them: one worker, which proves each state it writes.

    Every new state is read again as Postgres gives it back, and compared with what the handler left: what differs
    fails there and then, with its path (REVENANT_VALIDATE_STATE=1 does so anywhere). Without DATABASE_URL an embedded
    Postgres is started.
    """
    configure_logging("info")
    app = application(app_path)
    settings = app.settings.model_copy(update={"validate_state": True, "processes": 0})
    try:
        run(serve_app(app, None, settings))
    finally:
        app.release()

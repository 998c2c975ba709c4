"""`python -m revenant.cli.cell`: what a worker starts for an attempt that may kill its process; not for people."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

import click

from revenant.app import Revenant
from revenant.cli.loading import load_app
from revenant.cli.options import configure_logging
from revenant.eventloop import run
from revenant.worker.cells.channel import Channel
from revenant.worker.cells.inside import Inside, die_with

log = logging.getLogger("revenant.cell")


def main(number: int) -> None:
    """Serve over the socket of that number until its other end is closed."""
    die_with(os.getppid())
    end = socket.socket(fileno=number)
    # A step's own processes are not to have it.
    end.set_inheritable(False)
    told = Channel.first(end)
    if told is None or told["parent"] != os.getppid():
        return
    sys.path[:] = told["path"]
    configure_logging(told["level"], told["form"])
    try:
        app = load_app(told["application"])
    except click.ClickException as error:
        log.critical("%s", error.format_message())
        return
    run(_serve(app, end, told))


async def _serve(app: Revenant, end: socket.socket, told: dict[str, Any]) -> None:
    channel = await Channel.over(end)
    await app.errands.start(told["url"])
    inside = Inside(
        channel=channel, workflows=app.workflows, settings=app.settings, url=told["url"], worker=told["worker"]
    )
    await inside.serve()
    # Whatever threads its code has left, nobody waits for them.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""`revenant run`: the runs of workflows."""

from __future__ import annotations

import click

from revenant.cli.export import export
from revenant.cli.ordered import Ordered
from revenant.cli.run_controls import cancel, migrate, park, requeue, resume, signal
from revenant.cli.run_fork import fork
from revenant.cli.run_ls import list_runs, list_stuck
from revenant.cli.run_resolve import resolve
from revenant.cli.run_show import history, show
from revenant.cli.run_start import start


@click.group(cls=Ordered)
def run() -> None:
    """Runs of workflows: start them, look at them, and tell them what to do.

    An ID alone finds a run; where several workflows have one of that id, --workflow decides.
    """


for command in (
    start,
    list_runs,
    show,
    history,
    list_stuck,
    signal,
    cancel,
    park,
    resume,
    requeue,
    migrate,
    fork,
    resolve,
    export,
):
    run.add_command(command)

"""`revenant run`: the runs of workflows."""

from __future__ import annotations

import click

from revenant.cli.export import export


@click.group()
def run() -> None:
    """Runs of workflows."""


for command in (export,):
    run.add_command(command)

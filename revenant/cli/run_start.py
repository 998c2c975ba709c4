"""`revenant run start`: starts a run, and prints its id, or waits for its result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from pydantic_core import to_json

from revenant.app import Revenant
from revenant.cli.arguments import Seconds, json_of
from revenant.cli.kinds import workflow_of
from revenant.cli.option import option
from revenant.cli.options import app_option, application
from revenant.errors import InvalidArguments
from revenant.eventloop import run
from revenant.workflows.workflow import Workflow


@click.command()
@click.argument("workflow")
@click.argument("id", metavar="ID")
@click.argument("words", nargs=-1, metavar="[JSON | NAME=VALUE...]")
@option("--wait", is_flag=True, envvar="REVENANT_RUN_START_WAIT", help="Wait for its end, and print the result.")
@option(
    "--timeout",
    type=Seconds(),
    help="Seconds to wait: for its start to be recorded, or, with --wait, for its end.",
)
@app_option()
def start(
    *, workflow: str, id: str, words: Sequence[str], wait: bool, timeout: float | None, app_path: str | None
) -> None:
    """Start a run of WORKFLOW under ID, with one JSON document as its input, or an object of named values.

    The id is the idempotency key: the same start again is the same run. With --app the workflow has to be
    one of the application's, and the input is checked by its annotation, before anything is sent.
    """
    app = application(app_path)
    given = input_of(words)
    if app_path:
        _check(workflow_of(app, workflow), given)
    printed = run(_start(app, workflow, id, given, timeout, wait=wait))
    click.echo(printed)


def _check(workflow: Workflow[Any, Any], given: Any) -> None:
    if given is not None and not workflow.takes_input:
        raise InvalidArguments(f"Workflow {workflow.name} takes no input. Nothing was started; leave it out.")
    workflow.check_input(given)


def input_of(words: Sequence[str]) -> Any:
    """Return what was typed as an input or a payload: nothing, one JSON document, or NAME=VALUE pairs."""
    if not words:
        return None
    if len(words) == 1:
        try:
            return json.loads(words[0])
        except ValueError:
            if "=" not in words[0]:
                raise click.UsageError(
                    f"{words[0]!r} is neither JSON nor of the form NAME=VALUE; text in JSON is '\"text\"'."
                ) from None
    return json.loads(json_of(words, None))


async def _start(app: Revenant, workflow: str, id: str, given: Any, timeout: float | None, *, wait: bool) -> str:
    async with app:
        started = await app.start(workflow, given, id=id, timeout=None if wait else timeout)
        return to_json(await started.result(timeout=timeout)).decode() if wait else started.id

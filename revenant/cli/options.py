"""Options that several commands share, and the application that they name."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click
import psycopg
from click.core import ParameterSource
from pydantic import ValidationError
from pydantic_settings import SettingsError

from revenant.app import Revenant
from revenant.cli.loading import load_app
from revenant.cli.option import option
from revenant.config import Settings
from revenant.logs import JobFilter, JsonFormatter, TextFormatter
from revenant.queue.session import session

F = TypeVar("F", bound=Callable[..., Any])


def _export_url(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Put a URL from the command line where the application's own settings find it."""
    if value and parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
        os.environ["DATABASE_URL"] = value
    return value or None


database_option = option(
    "--database-url",
    metavar="URL",
    envvar=["DATABASE_URL", "REVENANT_DATABASE_URL"],
    show_envvar=True,
    # Before --app, whose module reads the environment when it is imported.
    is_eager=True,
    expose_value=False,
    callback=_export_url,
    help="The Postgres to use; an embedded one where none is given. Better set as a variable: others see arguments.",
)


def app_option(*, required: bool = False) -> Callable[[F], F]:
    """Return the options --app, which the command gets as `app_path`, and --database-url."""

    def add(command: F) -> F:
        return database_option(
            option(
                "--app",
                "app_path",
                metavar="MODULE:ATTRIBUTE",
                envvar="REVENANT_APP",
                required=required,
                help="The application, such as shop.main:app; the current folder is on the import path.",
            )(command)
        )

    return add


def application(app_path: str | None) -> Revenant:
    """Return the application that was named, or one without entities, from which anything can be sent untyped."""
    try:
        return load_app(app_path) if app_path else Revenant()
    except (ValidationError, SettingsError) as error:
        raise click.UsageError(_explain(error)) from error


def _explain(error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        return f"A setting in the environment cannot be read: {error}."
    flaws = []
    for flaw in error.errors(include_url=False, include_input=False):
        name = str(flaw["loc"][0]) if flaw["loc"] else "?"
        variable = name if name == "DATABASE_URL" else f"REVENANT_{name.upper()}"
        flaws.append(f"{variable}: {flaw['msg']}" if name in Settings.model_fields else f"{name}: {flaw['msg']}")
    return f"The settings do not fit: {'; '.join(flaws)}. Mend the variables or the application's own settings."


@asynccontextmanager
async def looking(app: Revenant) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give a connection to the application's database, ready for use, to look at things with."""
    try:
        async with session(await app.prepare(), role="cli") as connection:
            yield connection
    finally:
        app.release()


def configure_logging(level: str, form: str = "text") -> None:
    """Send the log to stderr, from a level on, as text or as JSON; a short command says by itself what went wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter((JsonFormatter if form == "json" else TextFormatter)(frank=level == "debug"))
    handler.addFilter(JobFilter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for library in ("psycopg", "procrastinate"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger().level))

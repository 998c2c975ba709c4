"""What people type, as values: handler arguments, durations, times."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from revenant.cli.option import option
from revenant.config import LONGEST_WAIT
from revenant.entities.due import LONGEST, YEARS

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


class Duration(click.ParamType[timedelta]):
    """A length of time, such as 500ms, 5s, 10m, 2h or 1d; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read the text."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a duration; write 500ms, 5s, 10m, 2h or 1d.", param, ctx)
        seconds = float(match[1]) * _UNITS[match[2]]
        if seconds > LONGEST.total_seconds():
            self.fail(f"{value!r} is too long; the longest is {LONGEST.days}d.", param, ctx)
        return timedelta(seconds=seconds)


class Moment(click.ParamType[datetime]):
    """A point in time in ISO 8601, with its zone."""

    name = "iso time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read the text."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time; write 2026-01-31T08:00:00+01:00.", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; add Z or an offset such as +01:00.", param, ctx)
        if moment.year not in YEARS:
            self.fail(f"{value!r} is not between the years {YEARS[0]} and {YEARS[-1]}.", param, ctx)
        return moment


class Seconds(click.FloatRange):
    """Seconds to wait: a number above 0 that ends some time."""

    name = "seconds"

    def __init__(self, *, least: float | None = None) -> None:
        super().__init__(min=least or 0, max=LONGEST_WAIT, min_open=least is None)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isnan(number):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return float(super().convert(number, param, ctx))


def message_arguments(command: F) -> F:
    """Add KIND KEY HANDLER [NAME=VALUE ...] and --args to a command."""
    for add in (
        option("--args", "args", metavar="JSON", help="All arguments as one JSON object or array."),
        click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]..."),
        click.argument("handler"),
        click.argument("key"),
        click.argument("kind"),
    ):
        command = add(command)
    return command


def json_of(pairs: Sequence[str], document: str | None) -> str:
    """Return the arguments of a message as JSON text: `name=value` pairs, or a whole document."""
    if document is not None:
        if pairs:
            raise click.UsageError("Give the arguments as NAME=VALUE or as --args, not both.")
        try:
            parsed = json.loads(document)
        except ValueError as error:
            raise click.BadParameter(f"This is not JSON: {error}.", param_hint="--args") from error
        if not isinstance(parsed, dict | list):
            raise click.BadParameter("Give an object of named arguments, or an array.", param_hint="--args")
        return document
    named: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"{pair!r} is not of the form NAME=VALUE, such as amount=5.")
        if name in named:
            raise click.UsageError(f"The argument {name!r} was given twice.")
        named[name] = _value(text)
    return json.dumps(named)


def _value(text: str) -> Any:
    """Return what JSON reads in it, else the text itself."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

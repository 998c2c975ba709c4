"""What a person sees of an error: one paragraph, and the exit code that a script can tell it by."""

from __future__ import annotations

import click

from revenant.errors import (
    AlreadyAnswered,
    ConfigurationError,
    DatabaseUnavailable,
    Refused,
    ReplyNotFound,
    RevenantError,
    RunExists,
    RunNotFound,
    RunRefused,
    Unstorable,
)

FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
INTERRUPTED = 130
CLOSED_PIPE = 141


def failure(error: RevenantError) -> click.ClickException:
    """Return what click prints on stderr and exits with for an error of ours."""
    match error:
        case DatabaseUnavailable():
            return _exit(str(error), UNREACHABLE)
        case ReplyNotFound() | RunNotFound():
            return _exit(str(error), NOT_FOUND)
        case AlreadyAnswered() | RunExists() | RunRefused():
            # What was typed makes sense, and not where the run is by now.
            return _exit(str(error), FAILED)
        case ConfigurationError() | Refused() | Unstorable() if not error.replied:
            # What was typed, or set, is at fault, and nothing was sent.
            return _exit(str(error), USAGE)
        case _:
            return _exit(str(error), FAILED)


def not_found(text: str) -> click.ClickException:
    """Return the error of a command whose object is not there."""
    return _exit(text, NOT_FOUND)


def refused(text: str) -> click.ClickException:
    """Return the error of a command that makes no sense where its object is now."""
    return _exit(text, FAILED)


def _exit(text: str, code: int) -> click.ClickException:
    made = click.ClickException(text)
    vars(made)["exit_code"] = code
    return made

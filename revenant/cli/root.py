"""The group `revenant`: its commands, and what becomes of errors, Ctrl-C and closed pipes."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any

import click

from revenant.cli.failures import CLOSED_PIPE, INTERRUPTED, failure
from revenant.cli.options import configure_logging
from revenant.cli.ordered import Ordered
from revenant.cli.shelf import Shelf
from revenant.errors import RevenantError


class Root(Ordered):
    """Turns what a command raises into one paragraph on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `failures.py` for the exit codes."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except RevenantError as error:
            raise failure(error) from error
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            words = f"{error.message} What begins with - and is none goes behind --, as in `revenant run show -- -5`."
            raise click.UsageError(words, ctx=error.ctx) from error
        except UnicodeEncodeError as error:
            raise click.UsageError(
                f"{error.object!r} is no text in UTF-8, and Postgres stores nothing else. Nothing was done."
            ) from error
        except KeyboardInterrupt:
            click.echo("Interrupted. What was sent may yet be handled.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # What is left in the buffer goes nowhere, instead of failing once more at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(CLOSED_PIPE)
        return result


@click.group(
    cls=Root,
    commands=Shelf(
        *("worker", "dev", "migrate", "upgrade", "views", "call", "cast", "cancel", "show"),
        *("history", "ls", "passivate", "delete", "workers", "schedules"),
        *("run", "approvals", "mailbox", "dead", "check", "demo", "bench"),
    ),
    context_settings={"auto_envvar_prefix": "REVENANT", "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="revenant-py", prog_name="revenant")
def main() -> None:
    """Durable entities and workflows on the Postgres you already run.

    The database is DATABASE_URL, or an embedded server of your own where that is not set. Data goes to stdout and
    words to stderr; exit codes are 0 ok, 1 failed, 2 usage, 3 not found, 4 database unreachable. Every option is
    also an environment variable.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        # See revenant_command.py: the command is imported, and from here on Ctrl-C is an exception, and told in words.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    configure_logging("error")

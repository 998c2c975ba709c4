"""The group `revenant`: its commands, and what becomes of errors, Ctrl-C and closed pipes."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any

import click

from revenant.cli.approvals import approvals
from revenant.cli.bench import bench
from revenant.cli.call import call
from revenant.cli.cancel import cancel
from revenant.cli.cast import cast
from revenant.cli.check import check
from revenant.cli.dead import dead
from revenant.cli.delete import delete
from revenant.cli.demo import demo
from revenant.cli.dev import dev
from revenant.cli.failures import CLOSED_PIPE, INTERRUPTED, failure
from revenant.cli.history import history
from revenant.cli.ls import ls
from revenant.cli.migrate import migrate
from revenant.cli.options import configure_logging
from revenant.cli.passivate import passivate
from revenant.cli.run import run
from revenant.cli.schedules import schedules
from revenant.cli.show import show
from revenant.cli.upgrade import upgrade
from revenant.cli.views import views
from revenant.cli.worker import worker
from revenant.cli.workers import workers
from revenant.errors import RevenantError


class Root(click.Group):
    """Turns what a command raises into one paragraph on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `failures.py` for the exit codes."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            # See revenant_command.py: from here on it is an exception, and told in words.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except RevenantError as error:
            raise failure(error) from error
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

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were added: what one needs first comes first."""
        return list(self.commands)


@click.group(
    cls=Root,
    context_settings={"auto_envvar_prefix": "REVENANT", "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="revenant-py", prog_name="revenant")
def main() -> None:
    """Durable entities on the Postgres you already run.

    The database is DATABASE_URL, or an embedded server of your own where that is not set. Data goes to stdout and
    words to stderr; exit codes are 0 ok, 1 failed, 2 usage, 3 not found, 4 database unreachable. Every option is
    also an environment variable.
    """
    configure_logging("error")


for command in (
    *(worker, dev, migrate, upgrade, views, call, cast, cancel, show),
    *(history, ls, passivate, delete, workers, schedules, run, approvals, dead, check, demo, bench),
):
    main.add_command(command)

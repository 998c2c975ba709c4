"""How an option is declared here: with its environment variable in the help."""

from __future__ import annotations

from functools import partial

import click

option = partial(click.option, show_envvar=True)
"""As `click.option`; the variable is REVENANT_COMMAND_OPTION unless `envvar` names another."""

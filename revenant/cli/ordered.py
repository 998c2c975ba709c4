"""Ordered: a group that lists its commands in the order in which they were added: what one needs first comes first."""

from __future__ import annotations

import click


class Ordered(click.Group):
    """Lists its commands as they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)

"""Rights: what a role may do with the schema, as its grants say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from revenant.sql import statement


@dataclass(frozen=True, slots=True)
class Rights:
    """What one role may do; each is a grant of its own, and `serves` is all that workers need."""

    role: str
    usage: bool
    """Whether it may name anything in the schema at all."""
    reads: bool
    """All tables."""
    casts: bool
    """By plain SQL: `revenant.cast` and `revenant.call`."""
    hears: bool
    """`revenant.reply`."""
    connects: bool
    """What a client in Python needs besides to send, and to wait for replies."""
    serves: bool

    @property
    def sends(self) -> bool:
        """Whether a client may send with it."""
        return self.usage and self.casts and self.hears and self.connects

    @property
    def works(self) -> bool:
        """Whether workers may run with it."""
        return self.usage and self.serves

    @property
    def any(self) -> bool:
        """Whether it is good for anything."""
        return self.usage and (self.reads or self.casts or self.serves)

    @property
    def words(self) -> str:
        """What it may do, as a person says it."""
        can = {
            "run workers": self.works,
            "send from Python": self.sends,
            "send from SQL": self.usage and self.casts,
            "read all tables": self.usage and self.reads,
        }
        may = [word for word, so in can.items() if so]
        not_may = [word for word, so in can.items() if not so]
        return f"{self.role} may {_and(may) or 'do nothing here'}" + (
            f"; not {_and(not_may, 'or')}" if may and not_may else ""
        )


async def rights(connection: psycopg.AsyncConnection[Any]) -> Rights | None:
    """Return what the connection's role may do; None where there is no schema."""
    async with connection.cursor(row_factory=class_row(Rights)) as cursor:
        return await (await cursor.execute(statement("read_rights"))).fetchone()


def _and(words: list[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

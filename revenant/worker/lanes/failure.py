"""Failure: what a failed turn says about trying it again."""

from __future__ import annotations

import asyncio

import psycopg

from revenant.errors import Conflict
from revenant.queue.connection import refuses_data

ENDS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)
"""What ends whoever runs turns, and is no failure of a turn."""


def is_passing(error: BaseException) -> bool:
    """Whether the same turn may well succeed the next time: a lost connection, a lost race."""
    passing = psycopg.OperationalError | psycopg.InterfaceError | psycopg.IntegrityError | OSError | Conflict
    return isinstance(error, passing) and not refuses_data(error)

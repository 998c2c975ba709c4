"""Chronicler: sees to it that the coming days have their partitions of the history, and that those of old go.

Invariant: a history is never written by it, and can be written without it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg

from revenant.queue.history import keep_history
from revenant.queue.link import Link
from revenant.worker.loop import Loop

REST_SECONDS = 1800.0
"""Partitions are made three days ahead, and what is done is done for all workers."""


class Chronicler(Loop):
    """Says how long this worker's kinds keep their histories, and has the partitions made and dropped."""

    name = "chronicler"

    def __init__(self, *, desk: Link, kinds: Mapping[str, timedelta]) -> None:
        super().__init__(desk=desk)
        self._kinds = kinds

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Do so once; return how long to rest."""
        await keep_history(connection, self._kinds)
        return REST_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 # jitter

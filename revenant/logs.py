"""Logs: lines for people, or a JSON object a line; what is known of a message is a field of its own.

Invariant: above DEBUG nothing is said that a message or a state may hold: of an exception its type and its place only.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pydantic_core import to_json

TEXT = "%(asctime)s %(levelname)-7s %(process)d %(name)s: %(message)s"
FIELDS = ("kind", "key", "handler", "message_id", "attempt", "duration", "outcome", "error", "worker")
"""What a record may hold besides its text; durations are seconds."""
Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people; `frank`: with what exceptions say."""

    def __init__(self, *, frank: bool) -> None:
        super().__init__(TEXT)
        self._frank = frank

    def formatException(self, ei: Raised) -> str:  # the standard library's name
        """Return where an exception came from."""
        return super().formatException(ei) if self._frank else "".join(_places(ei[1]))


class JsonFormatter(TextFormatter):
    """Formats a record as JSON: time (UTC), level, logger, process, message, then the FIELDS that it has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return to_json(entry, fallback=str).decode()


class JobFilter(logging.Filter):
    """Says of a job what procrastinate does, without its arguments and result."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all records pass."""
        job = getattr(record, "job", None)
        if isinstance(job, dict) and record.levelno > logging.DEBUG:
            action = str(getattr(record, "action", "job")).replace("_", " ")
            record.msg, record.args = f"{action}: {job.get('task_name')}, job {job.get('id')}", ()
        return True


def _places(error: BaseException | None) -> Iterator[str]:
    """Yield where an exception and those behind it came from, the first one first, without their words."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for one in reversed(chain):
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(one.__traceback__)
        yield f"{type(one).__module__}.{type(one).__qualname__} (its words are logged at DEBUG)\n"

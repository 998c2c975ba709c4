"""Telemetry: what happens, as events that an application may listen to: `attach(handler)`; free where nobody does.

Invariant: a handler that raises is detached, and never hurts what it listens to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from uuid import UUID

log = logging.getLogger("revenant.telemetry")
Handler = Callable[[str, Mapping[str, float], Mapping[str, object]], object]
"""Gets the event's name (`state.commit`), its measurements (numbers; seconds, bytes, counts) and its metadata."""

Trace = tuple[str, str]
"""A message's id, and the trace that it belongs to, as W3C's `traceparent` writes it."""


class Carrier(Protocol):
    """What takes traces along with messages: a tracer."""

    def depart(self, message_id: str) -> None:
        """Note the trace of whoever sends a message inside a handler now."""

    def traces(self, message_ids: Iterable[str]) -> list[Trace]:
        """Return the traces to store with these messages, of those that have one."""
        ...

    def within(self, message_id: str) -> str | None:
        """Return the trace in which a message was handled last, for what it leads to."""
        ...

    def arrive(self, traces: Iterable[Trace]) -> None:
        """Take in what was stored with messages, before they are handled."""


carrier: Carrier | None = None
"""Who traces; None as a rule."""
handlers: tuple[Handler, ...] = ()
"""Who listens; empty as a rule: whoever would have to prepare an event looks here first."""


def attach(handler: Handler) -> Callable[[], None]:
    """Have `handler(event, measurements, metadata)` called for every event of this process; return what detaches it.

    It runs in the event loop, in between: it must be quick, and not wait. The events are listed in the reference.

    Example:
        >>> detach = attach(lambda event, measurements, metadata: print(event, dict(measurements)))
        >>> emit("state.commit", {"bytes": 14, "version": 1}, {"kind": "Account", "key": "ada"})
        state.commit {'bytes': 14, 'version': 1}
        >>> detach()
    """
    global handlers  # noqa: PLW0603 # the one list of a process: events come from everywhere in it
    handlers = (*handlers, handler)

    def detach_it() -> None:
        detach(handler)

    return detach_it


def detach(handler: Handler) -> None:
    """Call this handler no more; safe twice."""
    global handlers  # noqa: PLW0603 # as above
    handlers = tuple(known for known in handlers if known is not handler)


def carry(by: Carrier | None) -> None:
    """Have traces taken along by this carrier, or no more."""
    global carrier  # noqa: PLW0603 # as above
    carrier = by


def job_name(job_id: int) -> str:
    """Return the id under which the trace of a procrastinate job is stored."""
    return str(UUID(int=job_id))


def emit(event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
    """Tell all that listen; for the engine, which asks `handlers` first where preparing an event costs something."""
    for handler in handlers:
        try:
            handler(event, measurements, metadata)
        except KeyboardInterrupt:
            raise
        except BaseException:
            detach(handler)
            log.exception("A telemetry handler failed at %s; it is detached, and nothing else is touched.", event)

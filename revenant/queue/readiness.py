"""Readiness: whether a socket has something for us right now, or has ended, asked of the system and not of the loop.

uvloop says once that a socket is in error, as one is whose server died with something unread, and never again: whoever
then takes only the server's last words, and waits for the end of the line, would wait for ever.
"""

from __future__ import annotations

import select


def is_readable(socket: int) -> bool:
    """Whether a read would return at once: data, the end, or an error."""
    asked = select.poll()
    asked.register(socket, select.POLLIN)
    return bool(asked.poll(0))

"""Offspring: what is forked from a process of ours has none of its connections, and does not go on in its place.

Invariant: what a process has open ends with it, whoever was forked from it: its locks are free, and so is its port.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import NamedTuple, Protocol

LOST = 70
"""Exit code of a child that was about to go on in its parent's place."""
_WORDS = (
    b"A process that was forked by code of yours has come back to where its parent goes on, and is ended. End it where "
    b"its work is done, by os._exit(), or use the subprocess or multiprocessing modules.\n"
)
# Of this process, as what it has open is: a fork asks nobody.
_kept: weakref.WeakSet[Open] = weakref.WeakSet()
_places: list[_Place] = []


class Open(Protocol):
    """Something with a socket, such as a connection or a server."""

    def fileno(self) -> int:
        """Return the socket's number; none, or an error, when it is closed."""
        ...


class _Place(NamedTuple):
    """Where an event loop runs."""

    loop: weakref.ref[asyncio.AbstractEventLoop]
    thread: int


def keep_from_offspring(what: Open) -> None:
    """Have nobody who is forked from here hold this open, or speak over it."""
    _kept.add(what)


def end_offspring() -> None:
    """Have what is forked in the running event loop end before it goes on in that, as a second one of its parent."""
    here = _Place(weakref.ref(asyncio.get_running_loop()), threading.get_ident())
    _places[:] = [one for one in _places if one.loop() is not None and one != here] + [here]


def end_if_not(pid: int) -> None:
    """End this process if it is another one than that, and was forked from it. For any thread."""
    if os.getpid() != pid:
        _end()


def _end() -> None:
    os.write(2, _WORDS)
    os._exit(LOST)


def _begin() -> None:
    """Run in each child before anything else does."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for one in list(_kept):
        try:
            number = one.fileno()
        except Exception:  # noqa: BLE001, S112 # it is closed, and says so in a way of its own
            continue
        if number >= 0:
            # Not closed: its number would be given to something else, to which its owner would write.
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)
    for place in _places:
        loop = place.loop()
        if loop is not None and not loop.is_closed() and place.thread == threading.get_ident():
            loop.call_soon(_end)
    _places.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)

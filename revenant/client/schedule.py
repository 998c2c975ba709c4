"""Scheduling: one message for later, stored under one batch until its outcome is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg

from revenant.client.sender import back_off, is_lost, meaning_of
from revenant.codec import new_id
from revenant.entities.due import Due
from revenant.queue.link import Link
from revenant.queue.mailbox import notify
from revenant.queue.records import Envelope, Scheduled
from revenant.queue.timetable import due_wakes, schedule_batch


class Silence(NamedTuple):
    """There was no answer; `doubtful` where a try may have stored the message."""

    when: str
    doubtful: bool


async def schedule(
    envelope: Envelope, due: Due, *, link: Link, seconds: float, going: Callable[[], bool]
) -> Silence | None:
    """Store a message for later, and return None; try again for `seconds`, while `going`.

    Raises:
        RevenantError: Postgres refused it, and nothing was stored.
    """
    row = Scheduled(*envelope[:6], envelope.digest, 0, due.after, due.at)
    batch = new_id(0)
    failures, tried, lost = 0, False, False
    when = f"after {seconds:g} s"
    wakes: list[tuple[str, str]] | None = None
    try:
        async with asyncio.timeout(seconds):
            while going():
                live = None
                try:
                    live = await link.connection()
                    tried = True
                    wakes = due_wakes([await schedule_batch(live, batch=batch, rows=[row])])
                    break
                except Exception as error:  # noqa: BLE001 # told, or tried again
                    if not is_lost(error) and not lost:
                        raise meaning_of(error, link.url) from None
                    # As in Sender: after a try that was lost, a refusal does not say that nothing was stored.
                    lost = lost or live is not None
                    if live is not None:
                        await link.reset(error, only=live)
                    await back_off(failures)
                    failures += 1
        when = "before the application was stopped"
    except TimeoutError:
        pass
    if wakes is None:
        return Silence(when, tried)
    if wakes:
        await _wake(link, wakes)
    return None


async def _wake(link: Link, wakes: Sequence[tuple[str, str]]) -> None:
    """Tell the workers that something is due soon. A lost wake-up costs time, not the message: they look themselves."""
    live = None
    try:
        live = await link.connection(seconds=1)
        await notify(live, wakes)
    except (psycopg.Error, OSError) as error:
        if live is not None:
            await link.reset(error, only=live)

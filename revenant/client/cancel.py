"""Cancelling: a message that is not due yet is taken out of the schedule, by its id."""

from __future__ import annotations

import asyncio

from revenant.client.doors import check_cancel
from revenant.client.sender import back_off, is_lost, meaning_of
from revenant.errors import DatabaseUnavailable
from revenant.queue import timetable
from revenant.queue.connection import unavailable
from revenant.queue.link import Link


async def cancel(message_id: str, *, link: Link, seconds: float) -> bool:
    """Return whether the message was still scheduled, and is not any more; try for so many `seconds`.

    Raises:
        ReplyNotFound: that is no message's id.
        DatabaseUnavailable: there was no answer; the text says where one was lost, so that the outcome is unknown.
    """
    check_cancel(message_id)
    tries = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                live = await link.connection()
                tries += 1
                try:
                    found = bool(await timetable.cancel(live, [message_id]))
                except Exception as error:  # noqa: BLE001 # told, or tried again
                    if not is_lost(error):
                        raise meaning_of(error, link.url) from None
                    await link.reset(error, only=live)
                    await back_off(tries)
                    continue
                if found or tries == 1:
                    return found
                # It was not there: an earlier try, whose answer was lost, may have taken it, or it had become due.
                break
    except TimeoutError:
        if not tries:
            cause = link.last_error or TimeoutError(f"no connection after {seconds:g} s")
            raise unavailable(link.url, cause) from None
    raise DatabaseUnavailable(
        f"An answer from Postgres was lost, so whether message {message_id} was cancelled or had become due before "
        "is unknown. It is not scheduled any more unless Postgres is still away: look at what it would have done."
    )

"""Commit: the end of a turn: settled, and looked up where its answer is lost, never guessed."""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg

from revenant import telemetry
from revenant.errors import Conflict
from revenant.queue.connection import refuses_data
from revenant.queue.link import Link
from revenant.queue.mailbox import notify
from revenant.queue.outcome import Fate, fate_of
from revenant.queue.records import Claim, Settlement
from revenant.queue.settle import id_payloads, settle
from revenant.worker.lanes.observer import committed, refused

log = logging.getLogger("revenant.lane")


async def commit(
    connection: psycopg.AsyncConnection[Any], claimed: Claim, settlement: Settlement, *, link: Link
) -> bool:
    """Commit a turn on its connection, which is `link`'s; return whether it was answered, not only looked up.

    Raises:
        Conflict: nothing was written; the messages will be handled again.
    """
    began = time.perf_counter()
    try:
        await settle(connection, settlement)
    except Conflict:
        refused(settlement)
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
        if refuses_data(error):
            raise
        await link.reset(error)
        await _look_up(link, claimed, settlement)
        committed(settlement, len(claimed.entities), time.perf_counter() - began)
        return False
    if telemetry.handlers or settlement.burials:
        committed(settlement, len(claimed.entities), time.perf_counter() - began)
    return True


async def _look_up(link: Link, claimed: Claim, settlement: Settlement) -> None:
    """The commit got no answer: find out what became of it, and do what is left to do.

    After a crash Postgres gives the numbers of transactions that left no trace away again, so `committed` may be
    somebody else's: the callers are told to look at the rows, and the entities are looked at once more.
    """
    connection = await link.connection()
    fate = await fate_of(connection, claimed.xid)
    log.warning("A commit got no answer; transaction %s turns out to be %s.", claimed.xid, fate.value)
    if fate is Fate.COMMITTED:
        await notify(
            connection,
            [(channel, page) for channel, replies in settlement.wakes.items() for page in id_payloads(replies)],
        )
        return
    raise Conflict(
        f"Transaction {claimed.xid} did not commit: its connection was lost. Nothing was written; "
        "its messages will be handled again."
    )

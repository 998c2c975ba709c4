"""Writer: flushes residents when they are due, together where it can, and hands them over when the worker stops.

Invariant: a flush that fails keeps the memory where it may succeed later; else it finds the message that is guilty.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import MutableMapping, Sequence

import psycopg

from revenant.entities.failure import Sentence, refused_by_postgres
from revenant.entities.hook import has_hook
from revenant.errors import Conflict
from revenant.queue.claim import peek
from revenant.queue.link import Link, brief
from revenant.queue.mailbox import WAKE_CHANNEL, notify
from revenant.queue.records import RELEASED, Hint
from revenant.queue.residence import visit
from revenant.worker.lanes.failure import is_passing
from revenant.worker.lanes.ledger import Ledger
from revenant.worker.residents.flush import flush
from revenant.worker.residents.home import Home
from revenant.worker.residents.host import Host
from revenant.worker.residents.resident import Resident
from revenant.worker.timing.ticker import hint_payloads

log = logging.getLogger("revenant.residence")
BATCH_RESIDENTS = 256
"""Entities that one transaction flushes at most."""
STUBBORN_CONFLICTS = 3
"""Refused flushes of one entity in a row, after which its memory is dropped."""


class Writer:
    """The flushing half of a residence."""

    def __init__(
        self,
        *,
        link: Link,
        worker: str,
        home: Home,
        host: Host,
        ledger: Ledger,
        condemned: MutableMapping[str, Sentence],
    ) -> None:
        self._link = link
        self._worker = worker
        self._home = home
        self._host = host
        self._ledger = ledger
        self._condemned = condemned

    async def write_due(self) -> None:
        """Flush what is due, and what leaves."""
        if due := self._home.memory.take_due(BATCH_RESIDENTS):
            await self.write(due)

    async def write(self, residents: Sequence[Resident]) -> None:
        """Flush these, each by itself where together they cannot be."""
        try:
            await self._send_off([resident for resident in residents if resident.leaving])
            flushed = await flush(self._link, self._worker, residents)
        except Exception as error:  # noqa: BLE001 # whatever it is, it belongs to the messages that it is about
            await self._link.reset(error)
            if is_passing(error) and not isinstance(error, psycopg.IntegrityError):
                self._put_off(residents, error)
            elif len(residents) > 1:
                for resident in residents:
                    await self.write([resident])
            else:
                self._suspect(residents[0], error)
            return
        for resident, conflict in flushed.lost:
            self._home.lose(resident, conflict)
        for resident in flushed.written:
            self._home.flushed(resident)

    async def _send_off(self, residents: Sequence[Resident]) -> None:
        waiting = [resident for resident in residents if has_hook(resident.definition) and not resident.sent_off]
        if not waiting:
            return
        connection = await self._link.connection()
        # Of entities that it names none of, a visit tells the database's clock.
        rules = self._host.rules(connection, (await visit(connection, self._worker, [], {})).now)
        for resident in waiting:
            resident.sent_off = True
            done = await self._host.send_off(resident, rules)
            if done is not None:
                resident.book(done, self._ledger)

    def _put_off(self, residents: Sequence[Resident], error: BaseException) -> None:
        """The flush failed, and may well succeed the next time."""
        for resident in residents:
            resident.refused = resident.refused + 1 if isinstance(error, Conflict) else 0
            if resident.refused > STUBBORN_CONFLICTS:
                self._home.lose(resident, error)
            else:
                self._home.memory.put_off(resident, random.uniform(0.05, 0.2) * (1 + resident.refused))  # noqa: S311 # jitter

    def _suspect(self, resident: Resident, error: BaseException) -> None:
        """One entity's flush fails, and would again: handle its messages one by one, so that only the guilty fail."""
        log.warning("%s(%r) cannot be flushed (%s); its messages are handled one by one.", *resident.key, brief(error))
        if resident.key in self._home.careful:
            self._condemned.update(dict.fromkeys(resident.handled, refused_by_postgres(brief(error))))
        self._home.careful.add(resident.key)
        self._home.drop(resident)

    async def hand_over(self) -> None:
        """Flush all, end their residence, and wake whoever serves their messages from now on."""
        left = list(self._home.memory)
        for start in range(0, len(left), BATCH_RESIDENTS):
            page = left[start : start + BATCH_RESIDENTS]
            for resident in page:
                resident.leaving = True
            while staying := [one for one in page if self._home.memory.find(one.key) is one]:
                await self.write(staying)
                # Where the flush failed, not at once again.
                await asyncio.sleep(0.05 if self._home.memory.find(staying[0].key) is staying[0] else 0)
            hints = [Hint(*resident.place[:3], RELEASED) for resident in page]
            connection = await self._link.connection()
            # After the commit: whoever sends a message from now on is heard by the others.
            found = [hints[slot] for slot in await peek(connection, hints)]
            if found:
                await notify(connection, [(WAKE_CHANNEL, payload) for payload in hint_payloads(found)])

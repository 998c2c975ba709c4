"""What one commit writes for each outcome: who is answered, what is tried again, and what leaves the mailbox."""

from __future__ import annotations

import pytest

from revenant.config import Settings
from revenant.entities.outcome import Applied, EntityTurn, Failed, Left, Outcome, Repeated
from revenant.queue.records import Claimed, Delivery, Reply, Settlement
from revenant.worker.lanes.ledger import Ledger

ID = "01a20365-fc8c-7d4a-a158-719b77ec92a7"


def delivery(*, origin: str | None = None, digest: bytes | None = None, attempts: int = 0, seq: int = 1) -> Delivery:
    return Delivery(seq, f"(0,{seq})", ID, "deposit", "{}", origin, digest, attempts, None)


def booked(*outcomes: Outcome, changed: bool = False) -> Settlement:
    claimed = Claimed(167, "Account", "a", "(0,9)", 3, 1, "{}", [outcome.delivery for outcome in outcomes])
    settlement = Settlement()
    turn = EntityTurn(claimed, outcomes, "{}", 4 if changed else 3, changed, False)
    Ledger(Settings(database_url=None, cast_attempts=3), tracebacks=False).book(settlement, turn, vsn=1)
    return settlement


def failed(found: Delivery, *, final: bool = False) -> Failed:
    return Failed(found, 3, {"error": "HandlerError", "message": "no"}, "Traceback", final, collided=False)


def test_a_call_is_answered_by_its_row_and_on_its_channel() -> None:
    settlement = booked(Applied(delivery(origin="revenant_x"), 4, "5", None), changed=True)
    reply = Reply(ID, "ok", 4, "5")
    assert settlement.wakes == {"revenant_x": [reply]}
    assert [kept for kept, _ in settlement.replies] == [reply]
    assert settlement.consumed == [("(0,1)", 1)]
    (write,) = settlement.writes
    assert (write.expected, write.version, write.applied) == (3, 4, 1)


def test_a_cast_has_no_reply_and_one_with_a_key_has_a_receipt() -> None:
    plain = booked(Applied(delivery(), 4, "5", None))
    assert (plain.wakes, plain.replies) == ({}, [])
    keyed = booked(Applied(delivery(digest=b"d"), 4, "5", None))
    assert keyed.wakes == {}
    assert [(reply.id, reply.digest) for reply, _ in keyed.replies] == [(ID, b"d")]


@pytest.mark.parametrize(("attempts", "final", "dead"), [(0, False, 0), (1, False, 0), (2, False, 1), (0, True, 1)])
def test_a_failed_cast_is_tried_again_until_it_is_dead(attempts: int, final: bool, dead: int) -> None:
    settlement = booked(failed(delivery(attempts=attempts), final=final))
    assert (len(settlement.schedules), len(settlement.burials)) == (1 - dead, dead)
    assert settlement.consumed == [("(0,1)", 1)]
    tried = [row.attempts for row in settlement.schedules] + [row.attempts for row in settlement.burials]
    assert tried == [attempts + 1]


def test_a_failed_call_is_answered_and_never_tried_again() -> None:
    settlement = booked(failed(delivery(origin="revenant_x")))
    assert (settlement.schedules, settlement.burials) == ([], [])
    (reply,) = settlement.wakes["revenant_x"]
    assert reply.status == "error"
    assert "Traceback" not in reply.body


def test_a_message_that_was_handled_before_only_leaves_the_mailbox_and_its_caller_is_told() -> None:
    first = Reply(ID, "ok", 2, "1", b"d")
    settlement = booked(Repeated(delivery(origin="revenant_x", digest=b"d"), first))
    assert settlement.wakes == {"revenant_x": [first]}
    assert (settlement.replies, settlement.writes) == ([], [])
    assert settlement.consumed == [("(0,1)", 1)]


def test_a_message_that_is_left_stays_in_the_mailbox() -> None:
    settlement = booked(Applied(delivery(seq=1), 4, "5", None), Left(delivery(seq=2), "elsewhere"), changed=True)
    assert settlement.consumed == [("(0,1)", 1)]
    assert settlement.writes[0].applied == 1

"""What the file says of every ledger, and that the workflow's rules agree with it."""

from __future__ import annotations

import json

from revenant.demo.data import default_data
from revenant.demo.logbook import Logbook
from revenant.demo.ops.books import COUNTS, Books
from revenant.demo.ops.claim import LIMIT, PATIENCE, Claim, Receipt, compensation, is_late
from revenant.demo.ops.ledger import Ledger
from revenant.demo.verdict import Comparison, Verdict


async def test_the_rules_and_the_books_agree_on_the_whole_file() -> None:
    ledgers: dict[str, Ledger] = {}
    books = Books()
    for flight in Logbook(default_data()).flights(lambda _: None):
        expected = books.add(flight)
        assert is_late(flight) == (expected is not None)
        if expected is None:
            continue
        owed = compensation(flight)
        receipt = Receipt(owed, owed, "unasked")
        if owed > LIMIT:
            agreed = (flight.arr_delay or 0) >= PATIENCE
            receipt = Receipt(owed, owed, "approved") if agreed else Receipt(owed, LIMIT, "rejected")
        assert (receipt.owed, receipt.paid, receipt.decision) == expected
        await Ledger.book.function(ledgers.setdefault(flight.carrier, Ledger()), Claim(flight, "desk"), receipt)
    comparison = Comparison(books.records, counts=COUNTS)
    for name, ledger in ledgers.items():
        comparison.add(name, json.dumps(ledger.model_dump()))
    assert comparison.close() == Verdict(entities=16)
    assert books.claims == 1862

"""Ledger: the entity in which an airline books what it has paid."""

from __future__ import annotations

from revenant.demo.ops.claim import Claim, Receipt
from revenant.entities.entity import Entity
from revenant.entities.handler import handler


class Ledger(Entity, kind="demo.Ledger"):
    """One airline's claims, in euros; its key is the carrier."""

    claims: int = 0
    owed: int = 0
    paid: int = 0
    approved: int = 0
    rejected: int = 0
    minutes: int = 0
    """Of delay, over all claims."""

    @handler
    async def book(self, claim: Claim, receipt: Receipt) -> int:
        """Take in one claim; return how many there are."""
        self.claims += 1
        self.owed += receipt.owed
        self.paid += receipt.paid
        self.approved += receipt.decision == "approved"
        self.rejected += receipt.decision == "rejected"
        self.minutes += claim.flight.arr_delay or 0
        return self.claims

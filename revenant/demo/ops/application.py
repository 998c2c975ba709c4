"""The workflow, and its application: `revenant worker --app revenant.demo.ops.application:app`."""

from __future__ import annotations

from revenant.app import Revenant
from revenant.demo.flight import Flight
from revenant.demo.ops.claim import LIMIT, Claim, Receipt, compensation
from revenant.demo.ops.ledger import Ledger
from revenant.demo.ops.notices import jobs, notify
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow


async def assess(flight: Flight) -> int:
    """Return what is owed; stands for a request to whoever knows the fares."""
    return compensation(flight)


@workflow(name="demo.compensate")
async def compensate(flow: Flow, claim: Claim) -> Receipt:
    """Assess, ask where it is much, tell the passengers, and book it in the airline's ledger."""
    owed = await flow.step(assess, claim.flight)
    receipt = Receipt(owed, owed, "unasked")
    if owed > LIMIT:
        about = {"owed": owed, "minutes": claim.flight.arr_delay}
        decision = await flow.approval("desk", assignee=claim.desk, about=about)
        receipt = Receipt(owed, owed, "approved") if decision.approved else Receipt(owed, LIMIT, "rejected")
    await flow.defer(notify, claim=flow.id, paid=receipt.paid)
    trial, _, _ = flow.id.partition("/")
    await flow.call(app.ref(Ledger, f"{trial}/{claim.flight.carrier}").book(claim, receipt))
    return receipt


app = Revenant(entities=[Ledger], workflows=[compensate], jobs=jobs)

"""Approving: a person's decision reaches the run that asked for it. The first one counts; a later one is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from revenant.queue.records import Delivery
from revenant.workflows import events as e
from revenant.workflows.approval import ApprovalOperation
from revenant.workflows.live import LiveRun
from revenant.workflows.replying import refuse, reply
from revenant.workflows.seen import OperationView


def decide(run: LiveRun, delivery: Delivery, args: dict[str, Any]) -> None:
    """Take a decision in, or refuse it."""
    decision = {name: args.get(name) for name in ("approved", "by", "form", "reason")}
    if not decision["by"]:
        refuse(run, delivery, "InvalidArguments", "A decision says by whom it is. Nothing was done; say it.")
        return
    found = _asked(run, args)
    if found is None:
        _too_late(run, delivery, args, decision)
        return
    operation = run.operations.get(found.number)
    if not isinstance(operation, ApprovalOperation):
        # Its status says nothing of that where it is about to fail.
        why = run.codeless or run.view.problem or "it is about to end."
        text = f"Run {run.key!r} cannot read a decision now, since its code is not run: {why} Nothing was changed."
        refuse(run, delivery, "RunRefused", text)
        return
    misfit = operation.misfit(decision)
    if misfit is not None:
        text = f"The form of approval {found.name!r} of run {run.key!r} is not filled in as it must be: {misfit.told}"
        refuse(run, delivery, misfit.error, text)
        return
    run.record(e.APPROVAL_GIVEN, found.number, name=found.name, result=decision)
    withdraw(run, found)
    reply(run, delivery, True)


def withdraw(run: LiveRun, asked: OperationView) -> None:
    """Nobody is asked that any more."""
    run.draft.withdraw(asked.number)
    if asked.due is not None:
        run.draft.cancels.append(run.id_of(asked.number, "wait"))


def decided(decisions: Mapping[int, tuple[str, Any]], args: Mapping[str, Any]) -> Any:
    """Return the decision that was given already: the latest one, where only the name says which; None: none was."""
    if args.get("op") is not None:
        return decisions.get(args["op"], (None, None))[1]
    return next((given for name, given in reversed(list(decisions.values())) if name == args.get("name")), None)


def _asked(run: LiveRun, args: Mapping[str, Any]) -> OperationView | None:
    """Return the open question that the decision is about: by its number and stream, else the oldest of its name."""
    if (args.get("run") or run.run) != run.run:
        return None
    if args.get("op") is None:
        return run.view.waits_for(args["name"], "approval")
    found = run.view.operations.get(args["op"])
    return found if found is not None and (found.type, found.state) == ("approval", "open") else None


def _too_late(run: LiveRun, delivery: Delivery, args: Mapping[str, Any], decision: dict[str, Any]) -> None:
    given = decided(run.view.decisions, args) if (args.get("run") or run.run) == run.run else None
    what = f"Approval {args.get('name')!r} of run {run.key!r}"
    if given is None:
        why = "it was not asked for yet, its deadline has passed, or the run goes on without it"
        refuse(run, delivery, "RunRefused", f"{what} is not waited for: {why}.")
    elif given == decision:
        # The same again: whoever sent it has not heard that it was taken.
        reply(run, delivery, True)
    else:
        refuse(run, delivery, "AlreadyAnswered", answered_before(what, given), by=given["by"])


def answered_before(what: str, given: Mapping[str, Any]) -> str:
    """Return the words for whoever comes second."""
    word = "approved" if given["approved"] else "rejected"
    return f"{what} was {word} by {given['by']} before; that stands, and this decision changed nothing."

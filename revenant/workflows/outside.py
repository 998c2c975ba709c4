"""Outside: what becomes of external steps: their answers reach the run as messages, and their time passes."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from revenant.codec import explain
from revenant.queue.records import Delivery
from revenant.workflows.attempts import failed, function_of, is_current, succeeded
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import StepOperation
from revenant.workflows.seen import OperationView
from revenant.workflows.tasks import withdraw


def take_step(run: LiveRun, delivery: Delivery, args: dict[str, Any]) -> None:
    """Take in how somebody outside has ended an attempt."""
    number, attempt = args["op"], args["attempt"]
    found = is_current(run, number, attempt)
    if found is None or args["run"] != run.run or not found.asked.get("external"):
        return
    withdraw(run, found)
    if args["status"] != "ok":
        failed(run, number, attempt, args.get("error") or {}, retryable=bool(args.get("retryable")))
        return
    operation = function_of(run, number)
    try:
        if isinstance(operation, StepOperation):
            operation.read(args.get("result"))
    except ValidationError as error:
        why = f"what it was completed with is not of the step's type: {explain(error)[1]}"
        told = {"error": "RunFailed", "type": "InvalidResult", "message": why}
        failed(run, number, attempt, told, retryable=True)
        return
    succeeded(run, number, attempt, args.get("result"))


def expire(run: LiveRun, found: OperationView, attempt: int) -> None:
    """An attempt outside has taken too long."""
    if is_current(run, found.number, attempt) is None:
        return
    run.draft.withdraw(found.number)
    why = f"the attempt took longer than {found.asked['timeout']:g} s"
    told = {"error": "RunFailed", "type": "TimeoutError", "message": why}
    failed(run, found.number, attempt, told, retryable=True)

"""Deciding: the loop that a decider is: it decides, its command is asked for, and its view takes in what comes of it.

Invariant: the next decision depends on nothing but the view, so along the same events the same commands come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from revenant.errors import RevenantError
from revenant.workflows.commands import (
    Call,
    Complete,
    Fail,
    Failing,
    RunMany,
    RunStep,
    Sleep,
    SleepUntil,
    StartChild,
    Wait,
)
from revenant.workflows.decisions import DecisionView
from revenant.workflows.flow import Flow
from revenant.workflows.operation import Awaited
from revenant.workflows.step import Step, as_step

MOST_AT_ONCE = 1_000
"""Commands one after another that nothing has to be waited for; more of them are a loop that has no end."""
_LONGEST_REPR = 500
Steps = Mapping[str, Step[..., Any]]


class Asked(NamedTuple):
    """A command as operations, and what it asks for, to be compared with the next one."""

    awaited: Awaited[Any]
    what: tuple[Any, ...]


async def decide_along(
    decide: Callable[[DecisionView[Any]], object], steps: Steps, flow: Flow, view: DecisionView[Any]
) -> Any:
    """Go from decision to decision; return the result that is decided on."""
    last: tuple[Any, ...] | None = None
    error: BaseException | None = None
    at_once, seq = 0, view.seq
    while True:
        command = decide(view)
        if isinstance(command, Complete):
            return command.result
        if isinstance(command, Fail):
            raise Failing(str(command.reason), str(command.message))
        asked = _asked_for(command, steps, flow, view)
        if error is not None and asked.what == last:
            asked.awaited.used = True
            raise error
        at_once, seq = (at_once + 1, seq) if seq == view.seq else (0, view.seq)
        if at_once > MOST_AT_ONCE:
            asked.awaited.used = True
            raise _invalid(command, f"it is the {at_once}th one after another that nothing has to be waited for")
        last = asked.what
        view.decided()
        error = await _outcome(asked.awaited)


async def _outcome(awaited: Awaited[Any]) -> BaseException | None:
    """Wait; return the error that it came to. What else it came to is in the view."""
    try:
        came = await awaited
    except RevenantError as error:
        return error
    if isinstance(came, list):
        return next((one for one in came if isinstance(one, BaseException)), None)
    return None


def _asked_for(command: object, steps: Steps, flow: Flow, view: DecisionView[Any]) -> Asked:
    try:
        if isinstance(command, RunMany):
            return _many(command, steps, flow, view)
        return _one(command, steps, flow, view)
    except (RevenantError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(command, str(error)) from error


def _many(command: RunMany, steps: Steps, flow: Flow, view: DecisionView[Any]) -> Asked:
    built: list[Asked] = []
    try:
        for one in command.commands:
            built.append(_one(one, steps, flow, view))  # noqa: PERF401 # what is built so far must be known
    except BaseException:
        for asked in built:
            asked.awaited.used = True
        raise
    return Asked(
        flow.gather(*(asked.awaited for asked in built), return_exceptions=True), tuple(asked.what for asked in built)
    )


def _one(command: object, steps: Steps, flow: Flow, view: DecisionView[Any]) -> Asked:
    match command:
        case RunStep():
            return _step(command, steps, flow)
        case Sleep() | SleepUntil():
            return _timer(command, flow, view)
        case Wait():
            return _wait(command, flow)
        case Call():
            call = flow.call(command.message)
            return Asked(call, ("call", call.name, getattr(command.message, "args", None)))
        case StartChild():
            child = flow.child(
                command.workflow, command.input, id=command.id, on_close=command.on_close, wait=command.wait
            )
            return Asked(child, ("child", child.name, command.id, getattr(child, "input", None)))
        case _:
            raise _invalid(command, "it is none of the commands that a decider can decide on here")


def _step(command: RunStep, steps: Steps, flow: Flow) -> Asked:
    name = command.step if isinstance(command.step, str) else as_step(command.step).name
    step = steps.get(name)
    if step is None:
        declared = ", ".join(sorted(steps)) or "none"
        raise _invalid(command, f"the decider declares no step {name!r} (declared: {declared}); add it to `steps`")
    built = flow.step(
        step, *command.args, retry=command.retry, timeout=command.timeout, idempotency=command.idempotency,
        recoveries=command.recoveries,
    )  # fmt: skip
    return Asked(built, ("step", name, getattr(built, "args", None)))


def _timer(command: Sleep | SleepUntil, flow: Flow, view: DecisionView[Any]) -> Asked:
    if command.id is not None and any(one.name == command.id for one in view.timers):
        # The flow may have begun later than the run: it does not know all of its timers.
        raise _invalid(command, f"the timer {command.id!r} has fired already, and an id is for one timer of a run")
    if isinstance(command, Sleep):
        timer = flow.sleep(command.duration, id=command.id)
    else:
        timer = flow.sleep_until(command.moment, id=command.id)
    return Asked(timer, ("timer", timer.name, getattr(timer, "after", None), getattr(timer, "at", None)))


def _wait(command: Wait, flow: Flow) -> Asked:
    given: object = command.signals
    wanted = {given: Any} if isinstance(given, str) else given
    if not isinstance(wanted, Mapping) or not wanted:
        raise _invalid(
            command, 'it waits for a signal by its name, or for some by name and type: {"yes": int, "no": str}'
        )
    # The first one's time is the whole command's: when it has expired, the others are given up.
    limits = [command.timeout] + [None] * (len(wanted) - 1)
    waits = [flow.signal(name, type, timeout=limit) for (name, type), limit in zip(wanted.items(), limits, strict=True)]
    return Asked(waits[0] if len(waits) == 1 else flow.race(*waits), ("wait", *wanted))


def _invalid(command: object, why: str) -> Failing:
    told = repr(command)[:_LONGEST_REPR]
    text = f"The decider returned {told}, which cannot be done: {why}."
    return Failing("InvalidCommand", text, command=told)

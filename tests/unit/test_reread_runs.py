"""Whatever code a run has and whatever happens to it: read again from its events, it is the same, wherever it is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic_core import from_json

from revenant.entities.message import Message
from revenant.errors import RevenantError
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import Workflow
from tests.dry import DryRun, told

Program = Any
"""What code does, as a tree: ["step"], ["signal", name, seconds], ["gather", [program, …]], ["then", [program, …]]."""
NAMES = st.sampled_from(["a", "b"])
LEAVES = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("sleep")),
    st.tuples(st.just("signal"), NAMES, st.sampled_from([None, 5])),
    st.tuples(st.just("number"), NAMES),
    st.tuples(st.just("cast")),
    st.tuples(st.just("call")),
    st.tuples(st.just("child"), st.booleans()),
    st.tuples(st.just("undo")),
    st.tuples(st.just("chance")),
    st.tuples(st.just("raise")),
    st.tuples(st.just("show")),
    st.tuples(st.just("patch"), NAMES),
)


def _branches(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["then", "gather", "race", "catch", "finally"]), several),
        st.tuples(st.just("map"), st.integers(1, 4), st.integers(1, 3)),
    )


PROGRAMS = st.tuples(st.just("then"), st.lists(st.recursive(LEAVES, _branches, max_leaves=6), min_size=2, max_size=6))


class Oops(Exception):
    """What programs raise, and catch."""


async def work(number: int) -> int:
    return number


async def note(words: list[str]) -> Any: ...


async def carry_out(flow: Flow, program: Program) -> Any:
    what, *rest = program
    return await _DOERS[what](flow, *rest)


async def _then(flow: Flow, parts: list[Program]) -> Any:
    return [await carry_out(flow, part) for part in parts]


async def _gather(flow: Flow, parts: list[Program]) -> Any:
    return await flow.gather(*(carry_out(flow, part) for part in parts))


async def _race(flow: Flow, parts: list[Program]) -> Any:
    return await flow.race(*(carry_out(flow, part) for part in parts))


async def _catch(flow: Flow, parts: list[Program]) -> Any:
    try:
        return await _then(flow, parts)
    except (Oops, RevenantError) as error:
        await flow.sleep(1)
        return type(error).__name__


async def _finally(flow: Flow, parts: list[Program]) -> Any:
    try:
        return await _then(flow, parts)
    finally:
        await flow.step(work, 9)


async def _map(flow: Flow, count: int, limit: int) -> Any:
    return await flow.map(work, range(count), limit=limit)


async def _step(flow: Flow, attempts: int) -> Any:
    return await flow.step(work, 1, retry=Retry(attempts=attempts))


async def _sleep(flow: Flow) -> Any:
    await flow.sleep(3)
    return flow.now().isoformat()


async def _signal(flow: Flow, name: str, timeout: float | None) -> Any:
    return await flow.signal(name, timeout=timeout)


async def _number(flow: Flow, name: str) -> Any:
    return await flow.signal(name, int)


async def _cast(flow: Flow) -> Any:
    return await flow.cast(_message())


async def _call(flow: Flow) -> Any:
    return await flow.call(_message())


async def _child(flow: Flow, wait: bool) -> Any:
    return await flow.child(CHILD, wait=wait)


async def _undo(flow: Flow) -> Any:
    return await flow.on_failure(work, 5)


async def _chance(flow: Flow) -> Any:
    await flow.step(note, [str(flow.random()), str(flow.uuid()), flow.now().isoformat()])


async def _raise(_flow: Flow) -> Any:
    raise Oops("a program's own")


async def _show(flow: Flow) -> Any:
    flow.show({"at": flow.now().isoformat()})


async def _patch(flow: Flow, name: str) -> Any:
    return await flow.step(work, 1) if flow.patched(name) else None


def _message() -> Message[Any]:
    return Message(kind="Account", key="a", handler="read", args="{}", load=from_json, caller=None)


async def _nothing(flow: Flow) -> None: ...


CHILD: Workflow[None, None] = Workflow(_nothing, name="child")
_DOERS: dict[str, Callable[..., Any]] = {
    "then": _then, "gather": _gather, "race": _race, "catch": _catch, "finally": _finally, "map": _map, "step": _step,
    "sleep": _sleep, "signal": _signal, "number": _number, "cast": _cast, "call": _call, "child": _child,
    "undo": _undo, "chance": _chance, "raise": _raise, "show": _show, "patch": _patch,
}  # fmt: skip


def happenings(run: DryRun) -> list[Callable[[], object]]:
    """Return what can happen to the run next."""
    found: list[Callable[[], object]] = []
    for number, one in run.open().items():
        if one.running:
            found += [lambda n=number: run.succeed(n, n), lambda n=number: run.fail(n)]  # type: ignore[misc]  # mypy cannot tell a lambda's default
        elif one.pausing:
            found.append(lambda n=number, a=one.attempt + 1: run.fire(n, "retry", attempt=a))  # type: ignore[misc]  # as above
        elif one.type == "timer" or one.due is not None:
            found.append(lambda n=number: run.fire(n))  # type: ignore[misc]  # as above
        elif one.type in ("call", "child"):
            door = "answer" if one.type == "call" else "finished"
            for status, body in (("ok", None), ("error", {"error": "HandlerError", "type": "X", "message": "no"})):
                args = {
                    "op": number,
                    "id": one.asked["id"],
                    "status": status,
                    "body": body,
                    "result": body,
                    "error": body,
                }
                found.append(lambda d=door, a=args: run.send(d, **a))  # type: ignore[misc]  # as above
    found *= 3
    for name in ("a", "b"):
        for payload in (1, "text"):
            found.append(lambda n=name, p=payload: run.signal(n, p))  # type: ignore[misc]  # as above
            # In one breath with whatever comes next.
            found.append(lambda n=name, p=payload: run.tell("signal", name=n, payload=p))  # type: ignore[misc]  # as above
    found += [lambda: run.send("park"), lambda: run.send("resume")] if len(run.events) % 3 else []
    found += [lambda: run.send("requeue")] if len(run.events) % 5 == 0 else []
    found += [lambda: run.send("cancel")] if len(run.events) % 7 == 0 else []
    return found


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(program=PROGRAMS, choices=st.lists(st.integers(0, 10_000), min_size=10, max_size=40))
def test_read_again_from_its_events_a_run_is_the_same_and_asks_the_same(program: Program, choices: list[int]) -> None:
    async def code(flow: Flow) -> Any:
        return await carry_out(flow, program)

    run = DryRun(Workflow(code, name="any"))
    for choice in choices:
        if run.live.view.over:
            break
        can = happenings(run)
        can[choice % len(can)]()
        if run.live.draft.consumed and choice % 2:
            continue
        run.go_on()
        if choice % 3 == 0:
            # Whoever goes on may be one who has just read it.
            run.reload()
        assert run.live.problem is None
        if not run.live.view.over:
            again = run.reread()
            assert told(again) == told(run.live)
            again.put_aside()
    run.go_on()
    assert [one.seq for one in run.events] == list(range(1, len(run.events) + 1))
    assert sum(one.type in e.ENDS for one in run.events) == run.live.view.over
    for cut in range(1, len(run.events) + 1):
        read = run.reread(until=cut)
        assert read.problem is None
        read.put_aside()
    run.live.put_aside()

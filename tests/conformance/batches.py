"""What the cases of the groups parallel and map start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from revenant import Flow
from revenant.workflows.flow import Flow as Given
from tests.conformance.contexts import Code, context_code, in_context, map_items, parallel, projection
from tests.conformance.operations import echo, greet
from tests.conformance.registry import case

_REASON = ("completionReason", "status", "successCount", "failureCount", "totalCount")
_COUNTS = ("completionReason", "successCount", "failureCount", "totalCount")


def returning(value: Any) -> Code:
    """A branch that returns this, and does nothing."""

    async def branch(flow: Flow) -> Any:
        return value

    branch.__name__ = f"returning {value!r}"
    return context_code(branch)


def stepping(value: str) -> Code:
    """A branch with a step that returns this."""

    async def branch(flow: Flow) -> Any:
        return await flow.step(echo, value)

    branch.__name__ = f"stepping {value!r}"
    return context_code(branch)


@context_code
async def failing(flow: Flow) -> None:
    raise ValueError("a branch that fails")


@context_code
async def wait_then_b1(flow: Flow) -> str:
    await flow.sleep(2)
    return "b1"


OK = returning("ok")


def branches_case(number: str, branches: Sequence[Code], *names: str, **options: Any) -> None:
    """A case that runs these branches, and returns their results, or what it wants to see of the batch."""

    async def handler(flow: Flow, given: Any) -> Any:
        found = await parallel(flow, branches, **options)
        return projection(found, *names) if names else found["results"]

    case(number)(handler)


branches_case("8-1", [stepping("task-1"), stepping("task-2")])
branches_case("8-2", [returning("alpha"), returning("beta")])
branches_case("8-3", [returning("one"), returning("two")])
branches_case("8-4", [returning("hello"), returning(42), returning({"k": "v"})])
branches_case("8-5", [])
branches_case("8-6", [OK, failing, OK], *_REASON, tolerated=0)
branches_case("8-8", [OK] * 4, "completionReason", "successCount", "totalCount", enough=2)
branches_case("8-9", [OK, failing, OK], *_REASON, tolerated=1)
branches_case("8-10", [failing, failing, OK], *_COUNTS, tolerated=1)
branches_case("8-11", [returning("r0"), returning("r1"), returning("r2")], at_once=2)
branches_case("8-13", [failing, failing, OK, OK], *_COUNTS, tolerated_percent=25)
branches_case("8-14", [stepping("b0"), wait_then_b1])
branches_case("8-16", [failing] * 3, *_REASON, tolerated=3)
branches_case("8-17", [OK, failing, OK], *_REASON, enough=3)
branches_case("8-18", [failing, failing, OK, OK], *_COUNTS, enough=3, tolerated=1)
branches_case("8-19", [OK, OK], at_once=0)
branches_case("8-22", [failing, OK, OK, OK], *_REASON, tolerated_percent=25)


class BranchError(Exception):
    """The first failure of a batch, raised again."""


def raise_again(batch: dict[str, Any]) -> Any:
    for error in batch["errors"]:
        raise BranchError(error)
    return batch["results"]


@case("8-7")
async def raises_again(flow: Flow, given: Any) -> Any:
    return raise_again(await parallel(flow, [failing, OK], tolerated=0))


@context_code
async def flat(flow: Flow) -> list[Any]:
    return [await flow.step(echo, "fa"), await flow.step(echo, "fb")]


@case("8-12")
async def flat_parallel(flow: Flow, given: Any) -> Any:
    return await in_context(flow, flat, sort="Parallel")


@case("8-20")
async def accessors(flow: Flow, given: Any) -> dict[str, Any]:
    found = await parallel(flow, [OK, failing, OK], tolerated=1)
    counts = projection(found, "successCount", "failureCount")
    return {"hasFailure": bool(found["errors"]), **counts, "errorCount": len(found["errors"])}


@context_code
async def inner(flow: Flow) -> Any:
    return (await parallel(flow, [stepping("i1"), stepping("i2")]))["results"]


branches_case("8-21", [inner])


# Maps.


@context_code
async def greeting(flow: Given, item: str, index: int) -> str:
    return await flow.step(greet, item)


@context_code
async def doubled(flow: Flow, item: int, index: int) -> int:
    return item * 2


@context_code
async def plus_index(flow: Flow, item: int, index: int) -> int:
    return item + index


@context_code
async def tenfold(flow: Flow, item: int, index: int) -> int:
    return item * 10


@context_code
async def itself(flow: Flow, item: Any, index: int) -> Any:
    if item == "fail":
        raise ValueError("an item that fails")
    return item


@context_code
async def large(flow: Flow, item: str, index: int) -> str:
    return item * 70_000


@context_code
async def second_one_waits(flow: Flow, item: str, index: int) -> Any:
    if index == 1:
        await flow.sleep(1)
    return await flow.step(echo, item)


@context_code
async def upper(flow: Flow, item: str, index: int) -> str:
    return item.upper()


def items_case(
    number: str, code: Code, items: Sequence[Any] | None, *names: str, wait: float | None = None, **options: Any
) -> None:
    """A case that runs this code for each of these items, or of those that it is given; as `branches_case`."""

    async def handler(flow: Flow, given: Any) -> Any:
        found = await map_items(flow, code, given if items is None else items, **options)
        if wait is not None:
            await flow.sleep(wait)
        return projection(found, *names) if names else found["results"]

    case(number)(handler)


items_case("9-1", greeting, None)
items_case("9-2", doubled, None)
items_case("9-3", plus_index, None)
items_case("9-4", itself, None)
items_case("9-5", itself, ["ok", "fail", "ok"], *_REASON, tolerated=0)
items_case("9-7", itself, ["ok"] * 4, "completionReason", "successCount", "totalCount", enough=2)
items_case("9-8", itself, ["ok", "fail", "ok"], *_REASON, tolerated=1)
items_case("9-9", itself, ["fail", "fail", "ok"], *_COUNTS, tolerated=1)
items_case("9-10", itself, ["fail", "fail", "ok", "ok"], *_COUNTS, tolerated_percent=25)
items_case("9-11", itself, ["r0", "r1", "r2"], at_once=2)
items_case("9-13", tenfold, None)
items_case("9-15", second_one_waits, ["r0", "r1"])
items_case("9-16", large, ["x"] * 4, "successCount", "totalCount")
items_case("9-17", upper, ["a", "b"], wait=1)
items_case("9-18", itself, ["ok", "fail"], *_REASON, tolerated=1, wait=1)


@case("9-6")
async def map_raises_again(flow: Flow, given: Any) -> Any:
    return raise_again(await map_items(flow, itself, ["fail", "ok"], tolerated=0))


@case("9-12")
async def flat_map(flow: Flow, given: Any) -> Any:
    return await in_context(flow, flat, sort="Map")

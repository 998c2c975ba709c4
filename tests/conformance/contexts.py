"""Contexts of the published cases: child runs, whose workflows are called as the sorts of contexts are."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from revenant import Flow, RunFailed, Workflow, workflow
from revenant.errors import ConfigurationError

Code = Callable[..., Awaitable[Any]]
_CODE: dict[str, Code] = {}


def context_code(code: Code) -> Code:
    """Make a function known under its name, as code that a context may run."""
    _CODE[code.__name__] = code
    return code


def _context(sort: str) -> Workflow[Any, Any]:
    @workflow(name=sort)
    async def run(flow: Flow, given: list[Any]) -> Any:
        code, *args = given
        return await _CODE[code](flow, *args)

    return run


CONTEXTS = {sort: _context(sort) for sort in ("RunInChildContext", "Parallel", "ParallelBranch", "Map", "MapIteration")}


async def in_context(flow: Flow, code: Code, *args: Any, sort: str = "RunInChildContext", id: str | None = None) -> Any:
    """Run this code in a context of its own, and wait for its result."""
    return await flow.child(CONTEXTS[sort], [code.__name__, *args], id=id)


async def parallel(flow: Flow, branches: Sequence[Code], **options: Any) -> dict[str, Any]:
    """Run branches side by side, in a context for all and one for each."""
    told = [[branch.__name__] for branch in branches]
    return await _batch(flow, "Parallel", "ParallelBranch", told, options)


async def map_items(flow: Flow, code: Code, items: Sequence[Any], **options: Any) -> dict[str, Any]:
    """Run code for each item and its index, in a context for all and one for each."""
    told = [[code.__name__, item, index] for index, item in enumerate(items)]
    return await _batch(flow, "Map", "MapIteration", told, options)


async def _batch(flow: Flow, sort: str, part: str, told: list[list[Any]], options: dict[str, Any]) -> dict[str, Any]:
    if options.get("at_once", 1) < 1:
        raise ConfigurationError("at_once= is 1 or more.")
    found: dict[str, Any] = await in_context(flow, run_batch, part, told, options, sort=sort)
    return found


@context_code
async def run_batch(flow: Flow, part: str, told: list[list[Any]], options: dict[str, Any]) -> dict[str, Any]:
    """Start parts as long as none of the conditions for an early end holds; return what came of them."""
    ends: dict[int, dict[str, Any]] = {}
    waiting = list(range(len(told)))
    wanted, tolerated = options.get("enough", math.inf), options.get("tolerated", math.inf)
    share = options.get("tolerated_percent", math.inf)

    def reason() -> str | None:
        failed = sum("error" in one for one in ends.values())
        if failed > tolerated or 100 * failed > share * len(told):
            return "FAILURE_TOLERANCE_EXCEEDED"
        return "MIN_SUCCESSFUL_REACHED" if len(ends) - failed >= wanted else None

    async def lane() -> None:
        while waiting and reason() is None:
            place = waiting.pop(0)
            try:
                ends[place] = {"result": await flow.child(CONTEXTS[part], told[place])}
            except RunFailed as error:
                ends[place] = {"error": error.message}

    await flow.gather(*(lane() for _ in range(options.get("at_once", 1))))
    errors = [one["error"] for _, one in sorted(ends.items()) if "error" in one]
    results = [one["result"] for _, one in sorted(ends.items()) if "result" in one]
    return {
        "completionReason": reason() or "ALL_COMPLETED",
        "status": "FAILED" if errors else "SUCCEEDED",
        "successCount": len(results),
        "failureCount": len(errors),
        "totalCount": len(ends),
        "results": results,
        "errors": errors,
    }


def projection(batch: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return what a case wants to see of a batch."""
    return {name: batch[name] for name in names}

"""One workflow before and after deploys, for worker processes: `--app tests.moves:old`, `:new` and `:both`."""

from __future__ import annotations

from revenant.app import Revenant
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.step import step
from revenant.workflows.workflow import workflow


async def pack(what: str) -> str:
    """Put it into a box; some things break."""
    if what == "glass":
        raise ValueError("it broke")
    return f"packed {what}"


@step(name="ship")
async def carry(box: str) -> str:
    """As it was done yesterday."""
    return f"{box}, carried"


@step(name="ship", version=2)
async def fly(box: str) -> str:
    """As it is done from today on."""
    return f"{box}, flown"


async def sweep(what: str) -> str:
    """Something else altogether."""
    return f"swept {what}"


@workflow(name="move")
async def move(flow: Flow, what: str) -> str:
    """What runs were started with yesterday."""
    box = await flow.step(pack, what, retry=Retry(attempts=1))
    await flow.signal("go")
    return await flow.step(carry, box)


@workflow(name="move", version=2)
async def move_by_air(flow: Flow, what: str) -> str:
    """The same as far as the signal, and another end."""
    box = await flow.step(pack, what, retry=Retry(attempts=1))
    await flow.signal("go")
    box = await flow.step(fly, box)
    return f"{box} by air"


@workflow(name="move", version=3)
async def move_nothing(flow: Flow, what: str) -> str:
    """Does not fit what was done before."""
    return await flow.step(sweep, what)


@workflow(name="stay")
async def stay(flow: Flow, where: str) -> str:
    """Another workflow, whose runs may have the same ids."""
    await flow.signal("go")
    return where


@workflow(name="idle")
async def idle(flow: Flow) -> None:
    """Takes nothing, and does nothing."""


old = Revenant(workflows=[move])
new = Revenant(workflows=[move_by_air])
both = Revenant(workflows=[move, move_by_air, stay, idle])
odd = Revenant(workflows=[move_nothing])

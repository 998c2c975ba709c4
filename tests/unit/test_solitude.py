"""Solitude: who is alone has nobody beside it, and company goes on before and after."""

from __future__ import annotations

import asyncio

from revenant.worker.solitude import Solitude


class Diary:
    """Who came in and who left, in order."""

    def __init__(self, solitude: Solitude) -> None:
        self.solitude = solitude
        self.lines: list[str] = []
        self.may_leave: dict[str, asyncio.Event] = {}

    async def _stay(self, name: str) -> None:
        self.lines.append(f"{name} in")
        await self.may_leave.setdefault(name, asyncio.Event()).wait()
        self.lines.append(f"{name} out")

    async def company(self, name: str) -> None:
        async with self.solitude.company:
            await self._stay(name)

    async def alone(self, name: str) -> None:
        async with self.solitude.alone():
            await self._stay(name)

    async def let_go(self, name: str) -> None:
        self.may_leave[name].set()
        await settle()


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_wants_to_be_alone_waits_for_company_to_leave_and_keeps_others_out() -> None:
    diary = Diary(Solitude())
    tasks = [asyncio.create_task(diary.company(name)) for name in ("a", "b")]
    await settle()
    tasks += [asyncio.create_task(diary.alone(name)) for name in ("one", "two")]
    await settle()
    tasks.append(asyncio.create_task(diary.company("late")))
    for name in ("a", "b", "one", "two", "late"):
        await settle()
        await diary.let_go(name)
    await asyncio.gather(*tasks)
    assert diary.lines == [
        "a in", "b in", "a out", "b out", "one in", "one out", "two in", "two out", "late in", "late out",
    ]  # fmt: skip


async def test_whoever_is_cancelled_keeps_nobody_out() -> None:
    solitude = Solitude()
    diary = Diary(solitude)
    inside = asyncio.create_task(diary.company("a"))
    await settle()
    waits = asyncio.create_task(diary.alone("one"))
    await settle()
    late = asyncio.create_task(diary.company("late"))
    await settle()
    waits.cancel()
    await settle()
    assert diary.lines == ["a in", "late in"]
    for name in ("a", "late"):
        await diary.let_go(name)
    await asyncio.gather(inside, late)
    alone = asyncio.create_task(diary.alone("two"))
    await settle()
    assert diary.lines[-1] == "two in"
    alone.cancel()
    await settle()
    async with asyncio.timeout(1), solitude.company:
        pass

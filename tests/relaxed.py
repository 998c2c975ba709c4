"""Relaxed entities that tests use; at module level, so that worker processes can import them too."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from revenant.app import Revenant
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler

LONG = 60.0
"""Seconds: an interval that does not end while a test runs."""


class Lamp(Entity, durability=Interval(seconds=LONG)):
    """Is written once a minute."""

    shines: int = 0
    farewells: int = 0

    @handler
    async def shine(self, by: int = 1) -> int:
        self.shines += by
        return self.shines

    @handler
    async def fail(self) -> None:
        self.shines += 1000
        raise ValueError("no")

    @handler
    async def light(self, other: str) -> None:
        self.turn.cast(self.turn.ref(Lamp, other).shine())

    @handler
    async def use_sql(self) -> None:
        await self.turn.connection.execute("select 1")

    @handler
    async def say(self, length: int) -> str:
        self.shines += 1
        return "x" * length

    @handler
    async def end(self) -> None:
        self.turn.delete()

    @handler
    async def look(self) -> int:
        return self.shines

    @handler
    async def walk(self) -> int:
        """Stay inside until the test opens the gate (`tests.nemesis.Gate`); return the process."""
        self.shines += 1
        folder = Path(os.environ["REVENANT_TEST_GATE"])
        (folder / f"in-{os.getpid()}").touch()
        while not (folder / "open").exists():  # noqa: ASYNC110 # another process opens it
            await asyncio.sleep(0.005)
        return os.getpid()

    @handler
    async def exit_process(self) -> None:
        os._exit(9)

    async def passivate(self) -> None:
        self.farewells += 1


class Spark(Entity, durability=Interval(seconds=0.05)):
    """Is written twenty times a second."""

    count: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count


class Stone(Entity, durability="on_stop"):
    """Is written when it leaves memory."""

    count: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count


class Fly(Entity, durability="on_stop", idle_timeout=0.05):
    """Leaves memory at once."""

    count: int = 0
    farewells: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count

    async def passivate(self) -> None:
        self.farewells += 1


class Rock(Entity, idle_timeout=0.05):
    """Is strict; what a worker keeps of it is a copy."""

    count: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count

    @handler
    async def where(self) -> int:
        """Return the process that handles it."""
        self.count += 1
        return os.getpid()


class Boulder(Entity):
    """Is strict, and heavy."""

    words: str = ""
    count: int = 0

    @handler
    async def grow(self, length: int) -> int:
        self.words = "x" * length
        return len(self.words)

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count

    @handler
    async def fail(self) -> None:
        self.count += 1000
        raise ValueError("no")


KINDS: list[type[Entity]] = [Lamp, Spark, Stone, Fly, Rock, Boulder]

app = Revenant(entities=KINDS)
"""For worker processes: `revenant worker --app tests.relaxed:app`."""

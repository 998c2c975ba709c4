"""Jobs that take their process down; `revenant worker --app tests.deadly:app`."""

from __future__ import annotations

import ctypes
import os

import procrastinate

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.entities.handler import handler

jobs = procrastinate.App(connector=procrastinate.PsycopgConnector())


@jobs.task(name="burn")
async def burn(how: str) -> None:
    """End the process, or do nothing."""
    match how:
        case "exit":
            os._exit(9)
        case "segfault":
            ctypes.string_at(0)


class Fuse(Entity):
    """Defers them."""

    @handler
    async def light(self, how: str) -> None:
        self.turn.defer(burn, how=how)


app = Revenant(entities=[Fuse], jobs=jobs)

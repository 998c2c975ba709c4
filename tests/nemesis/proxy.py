"""A proxy between one side and Postgres, and its cables, each of which can be listened to and cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

CANCEL_REQUEST = 80877102


class Cable:
    """One connection through the proxy; `role` is the end of its application_name: `lane-1`, `listener`."""

    def __init__(
        self, role: str, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], server: tuple[Any, Any]
    ) -> None:
        self.role = role
        self.client_reader, self.client = client
        self.server_reader, self.server = server
        self.deaf = False
        """Whether what the server sends is thrown away: the line is there, and nothing comes."""
        self.on_answer: Callable[[], None] | None = None
        """Called once with the server's next answer, which is lost."""
        self.hung_up = False
        self.ended = asyncio.Event()

    def cut(self) -> None:
        """Close both ends at once."""
        self.ended.set()
        self.client.close()
        self.server.close()

    def hang_up(self) -> None:
        """Close the client's end only: the server goes on, and nobody is there to hear it."""
        self.hung_up = True
        self.client.close()


class Trap:
    """Waits for a statement of one role, then does `spring(cable, frame)` instead of forwarding it."""

    def __init__(self, role: str, words: bytes, spring: Callable[[Cable, bytes], Awaitable[None]]) -> None:
        self.role = role
        self.words = words
        self.spring = spring
        self.sprung = asyncio.Event()


class Proxy:
    """Stands between one side and Postgres, and knows each connection by its name."""

    def __init__(self, url: str) -> None:
        self._parts = conninfo_to_dict(url)
        self._target = url
        self.cables: list[Cable] = []
        self.attempts: list[float] = []
        """When somebody tried to connect."""
        self.refused: set[str] = set()
        """Roles that are turned away; `""` turns everybody away."""
        self.silent = False
        """Whether whoever connects is left without an answer, for ever."""
        self._traps: list[Trap] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()
        for cable in self.cables:
            cable.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _round in range(3):
            await asyncio.sleep(0)  # the transports say good-bye in the loop's next rounds

    @property
    def url(self) -> str:
        """The database's URL by way of the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return make_conninfo(self._target, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")

    def live(self, role: str) -> list[Cable]:
        """The connections of that role (a prefix: `lane`) that are open."""
        return [cable for cable in self.cables if cable.role.startswith(role) and not cable.ended.is_set()]

    def trap(self, role: str, words: bytes, spring: Callable[[Cable, bytes], Awaitable[None]]) -> Trap:
        """Catch the next statement of that role (a prefix) that holds those words."""
        trap = Trap(role, words, spring)
        self._traps.append(trap)
        return trap

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts.append(time.monotonic())
        self._keep(self._carry(reader, writer))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await reader.read(-1)
        size = await reader.readexactly(4)
        body = await reader.readexactly(int.from_bytes(size, "big") - 4)
        role = _role_of(body)
        if self.refused and (role in self.refused or "" in self.refused):
            return
        server = await self._connect()
        server[1].write(size + body)
        cable = Cable(role, (reader, writer), server)
        if int.from_bytes(body[:4], "big") == CANCEL_REQUEST:
            await server[0].read()
            cable.cut()
            return
        self.cables.append(cable)
        back = self._keep(self._back(cable))
        try:
            await self._forth(cable)
        finally:
            # Not by `is_closing`: that is so as well when the client has died with something unread, and is reset.
            if not cable.hung_up:
                cable.cut()
            # After `hang_up` the server's end lives on until the server closes it.
            await asyncio.gather(back, return_exceptions=True)
            cable.cut()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._parts["host"]), int(self._parts.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _forth(self, cable: Cable) -> None:
        while True:
            head = await cable.client_reader.readexactly(5)
            frame = head + await cable.client_reader.readexactly(int.from_bytes(head[1:], "big") - 4)
            trap = self._caught(cable, frame)
            if trap is not None:
                await trap.spring(cable, frame)
                trap.sprung.set()
                continue
            cable.server.write(frame)
            await cable.server.drain()

    def _caught(self, cable: Cable, frame: bytes) -> Trap | None:
        for trap in self._traps:
            if cable.role.startswith(trap.role) and trap.words in frame:
                self._traps.remove(trap)
                return trap
        return None

    async def _back(self, cable: Cable) -> None:
        with suppress(OSError):
            while data := await cable.server_reader.read(65536):
                if cable.on_answer is not None:
                    answered, cable.on_answer = cable.on_answer, None
                    cable.deaf = True
                    answered()
                if not cable.deaf and not cable.client.is_closing():
                    cable.client.write(data)
                    await cable.client.drain()
        cable.ended.set()
        cable.client.close()
        cable.server.close()


def _role_of(startup: bytes) -> str:
    words = startup[4:].split(b"\0")
    with suppress(ValueError):
        return words[words.index(b"application_name") + 1].decode().removeprefix("revenant/")
    return ""

"""What breaks things for real: a Postgres of one's own, a proxy that cuts wires, and workers that can be killed."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from revenant.embedded import Server
from tests.tools import eventually, rows

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "revenant", "worker"]
CANCEL_REQUEST = 80877102


@contextmanager
def private_server(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that only this test uses, so that it may be crashed."""
    root = Path(tempfile.mkdtemp(prefix="revenant-nemesis-"))
    root.chmod(0o755)  # as root the server runs as another user, who has to reach it
    server = Server(root / "home", settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root)


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
        self.ended = asyncio.Event()

    def cut(self) -> None:
        """Close both ends at once."""
        self.ended.set()
        self.client.close()
        self.server.close()

    def hang_up(self) -> None:
        """Close the client's end only: the server goes on, and nobody is there to hear it."""
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
            if not writer.is_closing():
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


async def cut_before(cable: Cable, _frame: bytes) -> None:
    """The statement never arrives, and the connection is gone."""
    cable.cut()


async def cut_answer(cable: Cable, frame: bytes) -> None:
    """The statement arrives and is carried out; its answer is lost, and the connection with it."""
    cable.on_answer = cable.cut
    cable.server.write(frame)


async def hang_up(cable: Cable, frame: bytes) -> None:
    """The statement arrives; the client loses its end of the line at once, while the server still works."""
    cable.server.write(frame)
    await cable.server.drain()
    cable.hang_up()


def only_until(words: bytes, then: Callable[[], None]) -> Callable[[Cable, bytes], Awaitable[None]]:
    """The server gets the script up to and with those words, and dies before the rest; then `then` happens."""

    async def spring(cable: Cable, frame: bytes) -> None:
        body = frame[5 : frame.index(words) + len(words)] + b"\0"

        def answered() -> None:
            then()
            cable.cut()

        cable.on_answer = answered
        cable.server.write(frame[:1] + (len(body) + 4).to_bytes(4, "big") + body)

    return spring


class Hand:
    """A worker process of its own, by the command that users run; its group is what gets the signals."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children, except SIGTERM: that goes to the process alone."""
        if number == signal.SIGTERM:
            self.process.send_signal(number)
        elif self.running:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and proof that it was the signal that ended it."""
        assert self.running, f"it ended before it was killed; {self.last_words()}"
        self.signal(signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-3000:]

    def owns(self, pid: int) -> bool:
        """Whether that process is the worker, or a child of it."""
        with suppress(ProcessLookupError):
            return os.getpgid(pid) == self.process.pid
        return False


class Crew:
    """Hires workers, and sees to it that none of them outlives the test."""

    def __init__(self, url: str, folder: Path, *, app: str = "tests.entities:app") -> None:
        self.url = url
        self._folder = folder
        self._app = app
        self.hands: list[Hand] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for hand in self.hands:
            hand.signal(signal.SIGKILL)
        for hand in self.hands:
            hand.process.wait(10)

    async def hire(
        self,
        *options: str,
        url: str | None = None,
        app: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Hand:
        """Start a worker, and wait until it serves."""
        hand = self.spawn(*options, url=url, app=app, environment=environment)
        await self.serving(hand)
        return hand

    def spawn(
        self,
        *options: str,
        url: str | None = None,
        app: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Hand:
        """Start a worker."""
        log = self._folder / f"worker-{len(self.hands)}.log"
        kept = {name: word for name, word in os.environ.items() if not name.startswith("REVENANT_")}
        gate = {name: word for name, word in os.environ.items() if name == "REVENANT_TEST_GATE"}
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*COMMAND, "--app", app or self._app, *(options or ("--lanes", "2"))],
                cwd=ROOT,
                env={**kept, **gate, "DATABASE_URL": url or self.url, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        hand = Hand(process, log)
        self.hands.append(hand)
        return hand

    async def serving(self, hand: Hand) -> None:
        """Wait until that worker's row is in the table."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:

            async def has_row() -> bool:
                assert hand.running, f"a worker ended with {hand.process.returncode}: {hand.last_words()}"
                return any(hand.owns(pid) for (pid,) in await rows(connection, "select pid from revenant.workers"))

            await eventually(has_row, what="the worker's row")


class Gate:
    """Holds handlers of `tests.entities.Gate` inside their turn, in whatever process, until it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Let all of them go on."""
        (self.folder / "open").touch()

    def inside(self) -> list[int]:
        """The processes in which a handler has come to the gate."""
        return sorted(int(path.name.removeprefix("in-")) for path in self.folder.glob("in-*"))

    async def reached(self, *, besides: Sequence[int] = ()) -> int:
        """Wait until a process other than those has come to the gate, and return it."""
        found: list[int] = await eventually(
            lambda: sorted(set(self.inside()) - set(besides)), what="a handler at the gate"
        )
        return found[0]


def seeded() -> random.Random:
    """A source of chance whose seed is printed, and taken from REVENANT_TEST_SEED to repeat a run."""
    seed = int(os.environ.get("REVENANT_TEST_SEED") or time.time_ns() % 1_000_000)
    sys.stdout.write(f"seed {seed}: repeat with REVENANT_TEST_SEED={seed}\n")
    return random.Random(seed)


@asynccontextmanager
async def locked(url: str, table: str, mode: str = "share") -> AsyncIterator[None]:
    """Hold a lock on a table from a session of its own, so that writers have to wait."""
    async with await psycopg.AsyncConnection.connect(url) as session:
        await session.execute(f"lock table {table} in {mode} mode")
        yield


async def blocked(connection: psycopg.AsyncConnection[Any], role: str) -> int:
    """Return how many backends of that role (a prefix) wait for a lock right now."""
    (found,) = await rows(
        connection,
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
        "and starts_with(application_name, 'revenant/' || %s)",
        role,
    )
    return int(found[0])


async def terminate(connection: psycopg.AsyncConnection[Any], role: str) -> int:
    """Terminate every backend of that role (a prefix) in this database; return how many there were."""
    found = await rows(
        connection,
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and starts_with(application_name, 'revenant/' || %s)",
        role,
    )
    return len(found)

"""Every snippet of the README and the docs runs, top to bottom of its page, and prints what the page says.

A page is one program in a folder and a database of its own. A Python block whose first line names a file becomes
that file. Wherever a page binds `app`, a worker serves it, as its reader's second terminal does, and bare awaits run
inside `async with app:`. In console blocks `$` begins a command, and `...` in its output stands for anything.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import logging
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from psycopg.conninfo import make_conninfo

from revenant import Revenant, Settings
from revenant.cli import main
from revenant.codec import new_id
from revenant.queue.tasks import TaskWrite, write_tasks
from revenant.testing import MemoryApp
from tests.entities import Account, Ledger, jobs
from tests.pages import PAGES, ROOT, Block, blocks, name
from tests.tools import eventually, rows, value

LOOKS = re.compile(r"cat |revenant (?:show|ls|workers|check|dead ls|dead show|run ls|run show|run history)\b")
"""Commands that change nothing, and may be tried again until what was sent has been handled."""
PATIENCE = 10.0
RUNNABLE = [page for page in PAGES if any(block.runs for block in blocks(page))]


class Reader:
    """Somebody who types a page's blocks in, one after another."""

    def __init__(self, folder: Path, database: str, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._database = database
        self._stack = stack
        self._served: Revenant | None = None
        self._service = AsyncExitStack()
        stack.push_async_callback(lambda: self._service.aclose())
        self._names: dict[str, Any] = {"__name__": "page"}

    async def follow(self, page: Path, block: Block) -> None:
        """Do what one block says."""
        where = f"{name(page)}:{block.line}"
        match block.language:
            case "python" if block.file:
                (self._folder / block.file).write_text(block.text)
            case "python":
                await self._run(where, block)
            case "sql":
                await self._query(block.text)
            case _:
                for command, output in commands(block.text):
                    await self._type(where, command, output)

    async def _run(self, where: str, block: Block) -> None:
        printed = io.StringIO()
        self._names["print"] = lambda *values: print(*values, file=printed)
        text = "\n" * (block.line - 1) + block.text
        code = compile(text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, self._names)
        else:
            await asyncio.to_thread(exec, code, self._names)
        wanted = re.findall(r"^\s*print\(.*\)  # (.+)$", block.text, flags=re.MULTILINE)
        if wanted:
            assert printed.getvalue().splitlines() == wanted, where
        await self._serve()

    async def _serve(self) -> None:
        """Serve the page's application, as its reader does in a second terminal."""
        app = self._names.get("app")
        if not isinstance(app, Revenant) or isinstance(app, MemoryApp) or app is self._served:
            return
        if not app.registry.kinds and not app.workflows:
            return
        await self._service.aclose()  # a new `app` is deployed in place of the old one
        self._service, self._served = AsyncExitStack(), app
        await app.start()
        self._service.push_async_callback(app.stop)
        worker = app.worker()
        await worker.start()
        self._service.push_async_callback(worker.stop, drain_timeout=5)
        await worker.ready()

    async def _query(self, text: str) -> None:
        async with await psycopg.AsyncConnection.connect(self._database, autocommit=True) as connection:
            await connection.execute(text.encode())

    async def _type(self, where: str, command: str, output: str) -> None:
        if re.match(r"revenant worker\b", command):
            await self._stack.enter_async_context(working(command, self._folder))
            return
        deadline = time.monotonic() + PATIENCE
        while True:
            said, code = await asyncio.to_thread(run, command)
            if fits(output, said, code):
                return
            if not LOOKS.match(command) or time.monotonic() > deadline:
                raise AssertionError(f"{where}: $ {command}\n{said}\nexit code {code}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def working(command: str, folder: Path) -> AsyncIterator[None]:
    """Keep a worker running in the background, and see it drain."""
    log = folder / "worker.log"
    with log.open("w") as stderr:
        process = await asyncio.create_subprocess_shell(f"exec {command}", stderr=stderr)
    try:
        async with asyncio.timeout(PATIENCE):
            while "Ready:" not in log.read_text():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            code = await process.wait()
    assert code == 0, log.read_text()


def commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that it shows."""
    first, *parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not first.strip(), f"output before a command: {first}"
    split = [part.partition("\n") for part in parts]
    return [(re.sub(r"\s{2,}# .*$", "", command), output) for command, _, output in split]


def run(command: str) -> tuple[str, int]:
    """Run a command, and return what it said and its exit code; ours runs in this process where no shell is needed."""
    words = shlex.split(command)
    if words[0] == "revenant" and not set("$|<>&;") & set(command):
        ended = CliRunner().invoke(main, words[1:])
        return ended.output, ended.exit_code
    shell = subprocess.run(command, shell=True, stdout=PIPE, stderr=STDOUT, text=True, timeout=30, check=False)
    return shell.stdout, shell.returncode


def fits(output: str, said: str, code: int) -> bool:
    """Whether a command ended as its page shows: with that output; where it shows none, without an error."""
    if not output.strip():
        return code == 0
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(output.strip(), said.strip(), flags)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets the log up for its process, which is ours here."""
    loggers = [logging.getLogger(word) for word in (None, "psycopg", "procrastinate")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def desk(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the commands that an installation brings, and nothing set but DATABASE_URL."""
    shims = tmp_path / "shims"
    shims.mkdir()
    for command, words in {"revenant": "-m revenant", "python": ""}.items():
        shim = shims / command
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    for variable in [found for found in os.environ if found.startswith(("REVENANT_", "PYTEST_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("REVENANT_CAST_BACKOFF", "0.02")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_revenant,pytest_asyncio.plugin")
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
async def test_every_snippet_runs_and_prints_what_its_page_says(page: Path, desk: Path, database: str) -> None:
    before = set(sys.modules)
    try:
        async with AsyncExitStack() as stack:
            reader = Reader(desk, database, stack)
            for block in blocks(page):
                if block.runs:
                    await reader.follow(page, block)
    finally:
        for made in [found for found in set(sys.modules) - before if (desk / f"{found}.py").exists()]:
            del sys.modules[made]


@pytest.fixture
def roles(database: str) -> Iterator[dict[str, str]]:
    """The URLs of the roles that the docs grant something to, by the names that they have there."""
    names = {word: f"{word}_{uuid4().hex}" for word in ("shop", "sender", "client", "taker", "reader")}
    with psycopg.connect(database, autocommit=True) as admin:
        for role in names.values():
            admin.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(role)))
        for block in (block for page in PAGES for block in blocks(page) if "the_grants_of_these_docs" in block.info):
            text = block.text
            for word, role in names.items():
                text = text.replace(f"to {word};", f"to {role};")
            admin.execute(text.encode())
        yield {word: make_conninfo(database, user=role, password="secret") for word, role in names.items()}
        for role in names.values():
            admin.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


async def test_the_grants_of_these_docs_suffice(roles: dict[str, str], settings: Settings) -> None:
    async with Revenant(entities=[Account, Ledger], database_url=roles["shop"], settings=settings, jobs=jobs) as app:
        worker = app.worker()
        await worker.start()
        assert await app.ref(Account, "a").deposit(1) == 1
        assert await app.call(app.ref(Account, "a").deposit(1), idempotency_key="k") == 2
        await app.cast(app.ref(Account, "a").deposit(1), after=timedelta(milliseconds=1))
        await app.cast(app.ref(Account, "a").fail(1))
        await app.ref(Ledger, "l").defer_note("a job that finds no table")
        async with await psycopg.AsyncConnection.connect(roles["sender"], autocommit=True) as sender:
            await sender.execute("select revenant.cast('Account', 'a', 'deposit', '{\"amount\": 2}')")
            asked = await value(sender, "select revenant.call('Account', 'a', 'deposit', '{\"amount\": 3}')")
            await eventually(lambda: rows(sender, "select * from revenant.reply(%s)", asked), what="the reply in SQL")
            for run in ("start('hops', 'r')", "signal('hops', 'r', 'word')", "cancel_run('hops', 'r')"):
                assert await value(sender, f"select revenant.{run}")
            await refused(sender, "select args from revenant.messages", "select * from revenant.entities")
        await eventually(lambda: balance(app, 8), what="what was sent by both roles")
        await send_from_python(roles["client"], settings)
        async with await psycopg.AsyncConnection.connect(roles["reader"], autocommit=True) as reader:
            assert await value(reader, "select state->'balance' from revenant.entities where key = 'a'") == 11
            assert await value(reader, "select count(*) from revenant.workers") == 1
            await refused(reader, "delete from revenant.messages", "select revenant.cast('Account', 'a', 'read')")
        assert await app.delete(app.ref(Account, "a"))
        await worker.stop(drain_timeout=5)
        await take_steps(roles["taker"], roles["shop"])


async def send_from_python(url: str, settings: Settings) -> None:
    async with Revenant(entities=[Account], database_url=url, settings=settings) as app:
        account = app.ref(Account, "a")
        assert await account.deposit(1) == 9
        assert await app.call(account.deposit(1), idempotency_key="client") == 10
        assert await app.reply(await app.cast(account.deposit(1), idempotency_key="cast")) == 11
        await app.cast(account.deposit(1), after=timedelta(days=1))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as client:
        await refused(client, "select * from revenant.entities", "delete from revenant.messages")


async def take_steps(url: str, worker_url: str) -> None:
    bucket = 7
    async with await psycopg.AsyncConnection.connect(worker_url, autocommit=True) as worker:
        for op in (1, 2):
            task = TaskWrite(bucket, new_id(bucket), op, "run:w", "k", "step", "weigh", 1, None, "[]", None)
            await write_tasks(worker, gone=[], tasks=[task])
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as taker:
        for end in ("complete_step(%s, '1')", "fail_step(%s, 'no')"):
            token = await value(taker, "select token from revenant.claim_step('weigh', 'me', 30)")
            await taker.execute("select revenant.renew_step(%s, 60)", (token,))
            for _ in range(2):
                await taker.execute(f"select revenant.{end}".encode(), (token,))
        await refused(taker, "select args from revenant.messages", "select * from revenant.run_events")


async def refused(connection: psycopg.AsyncConnection[Any], *statements: str) -> None:
    for statement in statements:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement.encode())


async def balance(app: Revenant, wanted: int) -> bool:
    return await app.ref(Account, "a").read() == wanted


def test_output_that_is_wrong_is_found() -> None:
    assert fits("one\n...\n", "one\ntwo\n", 0)
    assert fits("", "one\n", 0)
    assert not fits("one\n", "one\ntwo\n", 0)
    assert not fits("", "", 1)
    assert commands("$ a  # in a second terminal\n$ b\nout\n") == [("a", ""), ("b", "out\n")]

"""The stage: the database of a trial, ready to use, and the event loop that the trial runs on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from revenant.config import Settings
from revenant.embedded import lease
from revenant.errors import RevenantError
from revenant.eventloop import run
from revenant.queue.session import session
from revenant.sql import address, migrate
from revenant.trial.run import Run
from revenant.workflows.workflow import KIND

T = TypeVar("T")
ROLE = "trial"
"""The connection of a trial that looks at what is committed."""
CALL_TIMEOUT = 30.0
"""Seconds: a trial loads its machine on purpose, so that it is more patient than a user's program."""


@asynccontextmanager
async def database(say: Callable[[str], None]) -> AsyncIterator[str]:
    """Give the URL of a migrated database: DATABASE_URL, else the embedded server for as long as it is needed."""
    given = Settings().database_url
    if given is not None:
        if not (await migrate(given)).nothing_to_do:
            say(f"Applied the `revenant` schema to {address(given)}, as `revenant migrate` does.")
        yield given
        return
    held = await asyncio.to_thread(lease)
    try:
        await migrate(held.url)
        yield held.url
    finally:
        held.release()


async def clear(url: str, run: Run, say: Callable[[str], None]) -> None:
    """Remove what a run has stored; never raises, since there may be an error already."""
    try:
        async with session(url, role=ROLE) as connection:
            if run.kind.startswith(KIND):
                await run.erase_runs(connection)
            else:
                await run.erase(connection)
    except RevenantError as error:
        say(f"What this run stored could not be removed: {error} Its keys begin with {run.key('')!r}.")


def settings() -> Settings:
    """Return the settings of a trial's own client: the environment's, with more patience."""
    return Settings().model_copy(update={"call_timeout": CALL_TIMEOUT})


def perform(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM and SIGHUP clean up as Ctrl-C does.

    Raises:
        KeyboardInterrupt: one of these signals came, and everything was cleaned up.
    """
    try:
        return run(_stoppable(main))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _stoppable(main: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            loop.add_signal_handler(number, task.cancel)
    return await main

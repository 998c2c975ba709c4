"""Errands: what steps send through the application that they are of, in a process where only its worker was started.

Invariant: nothing is connected before the first step sends.
"""

from __future__ import annotations

import asyncio
import os
from contextvars import Context

from revenant.client.client import Client
from revenant.config import Settings
from revenant.errors import ConfigurationError
from revenant.workflows.step import running_step


class Errands:
    """The client of the steps that run in one event loop."""

    def __init__(self, *, settings: Settings) -> None:
        self._settings = settings
        self._url: str | None = None
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._client: Client | None = None

    async def start(self, url: str) -> None:
        """Have steps of the running event loop send to that database."""
        self._url, self._home = url, _here()

    async def stop(self) -> None:
        """Hang up; safe before start and twice."""
        client, self._client, self._home, self._url = self._client, None, None, None
        if client is not None:
            await client.stop()

    def client(self) -> Client | None:
        """Return the client of the step that asks; None: nobody runs steps here, or this is none."""
        if self._url is None or self._home is None or running_step.get() is None or self._home != _here():
            return None
        if self._client is None:
            self._client = Client(url=self._url, settings=self._settings)
            # It waits for nothing; what it begins lives longer than the step, and is not in its context.
            Context().run(_to_its_end, self._client)
        return self._client

    def check(self, what: str) -> None:
        """Refuse what a step was to do through an application of which no worker has started.

        Raises:
            ConfigurationError: so it is.
        """
        if self._url is None and running_step.get() is not None:
            raise ConfigurationError(
                f"{what} in a step, through an application of which no worker runs here, as under memory_app. Nothing "
                "was sent. Test what sends from steps on a database, by revenant_app(app)."
            )


def _to_its_end(client: Client) -> None:
    starting = client.start()
    try:
        starting.send(None)
    except StopIteration:
        return
    starting.close()
    raise RuntimeError("A client waits for something when it is started.")


def _here() -> tuple[int, asyncio.AbstractEventLoop]:
    return os.getpid(), asyncio.get_running_loop()

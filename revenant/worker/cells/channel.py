"""Channel: JSON values, one after another, over a socket to one other process; no more come when that is gone."""

from __future__ import annotations

import asyncio
import socket
from io import RawIOBase
from typing import Any

from pydantic_core import from_json, to_json

_HEAD = 4
"""Bytes that say how long a value is."""


def _exactly(source: RawIOBase, number: int) -> bytes:
    """Return so many bytes; fewer at the end."""
    body = b""
    while len(body) < number and (more := source.read(number - len(body))):
        body += more
    return body


class Channel:
    """One end of a socket; what the other end sends is received in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """Return a channel over this end of a pair, which it closes at its own end."""
        return cls(*await asyncio.open_connection(sock=end))

    def post(self, value: Any) -> None:
        """Send a value, without waiting until there is room for it."""
        body = to_json(value)
        self._writer.write(len(body).to_bytes(_HEAD, "big") + body)

    async def send(self, value: Any) -> None:
        """Send a value; to a process that is gone, nothing happens."""
        try:
            self.post(value)
            await self._writer.drain()
        except OSError:
            pass  # its end is received, by whoever waits for an answer

    async def receive(self) -> Any:
        """Return the next value; None: the other process is gone, or has closed its end."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_HEAD), "big")
            return from_json(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            return None

    @staticmethod
    def first(end: socket.socket) -> Any:
        """Return the first value that comes over this end, which blocks until then; None: nobody sends one."""
        with end.dup().makefile("rb", buffering=0) as source:
            text = _exactly(source, int.from_bytes(_exactly(source, _HEAD), "big"))
        return from_json(text) if text else None

    def close(self) -> None:
        """Close this end; safe twice."""
        self._writer.close()

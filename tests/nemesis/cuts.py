"""Ways to lose a statement, or its answer: what a trap of the proxy springs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.nemesis.proxy import Cable


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


def before(kill: Callable[[], None]) -> Callable[[Cable, bytes], Awaitable[None]]:
    """The client is killed before the statement arrives."""

    async def spring(cable: Cable, _frame: bytes) -> None:
        kill()
        cable.cut()

    return spring


def after(kill: Callable[[], None]) -> Callable[[Cable, bytes], Awaitable[None]]:
    """The client is killed when the statement was carried out, before it knows of that."""

    async def spring(cable: Cable, frame: bytes) -> None:
        cable.on_answer = kill
        cable.server.write(frame)

    return spring

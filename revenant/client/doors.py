"""What the doors take: each mistake is told in words, before anything is sent."""

from __future__ import annotations

from typing import Any

import psycopg
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

from revenant.codec import is_id
from revenant.entities.message import Message
from revenant.errors import ConfigurationError, ReplyNotFound

_LONGEST_SECONDS = 1e9


def seconds_of(timeout: object, default: float) -> float:
    """Return how long to wait; `default` where nothing is given.

    Raises:
        ConfigurationError: that is no number of seconds.
    """
    if timeout is None:
        return default
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 <= timeout <= _LONGEST_SECONDS:  # type: ignore[operator]  # it is a number by then
        raise ConfigurationError(
            f"timeout={timeout!r} is no time to wait: give seconds from 0 to {_LONGEST_SECONDS:,.0f}, such as "
            "timeout=5.0, or leave it out. Nothing was sent."
        )
    return float(timeout)  # type: ignore[arg-type]  # it is a number by now


def check_reply(message_id: object) -> None:
    """Refuse what can have no reply.

    Raises:
        ReplyNotFound: that is no message's id.
    """
    if not isinstance(message_id, str) or not is_id(message_id):
        raise ReplyNotFound(
            f"{message_id!r} is no message's id, which is text like '0199…-…'. Pass what app.cast() returned, a "
            "CallTimeout's message_id, or a message's id."
        )


def reader_of(returns: Any) -> TypeAdapter[Any]:
    """Return what reads a reply as that type.

    Raises:
        ConfigurationError: it is no type that pydantic reads.
    """
    try:
        return TypeAdapter(returns)
    except (PydanticUserError, PydanticSchemaGenerationError) as error:
        raise ConfigurationError(
            f"returns={returns!r} is no type that a reply can be read as: give one such as int, or leave it out. "
            "The reply was not touched."
        ) from error


def check_connection(message: Message[Any], connection: object, wanted: type, elsewhere: str) -> None:
    """Refuse what is no connection of the kind that this door sends on.

    Raises:
        ConfigurationError: it is another kind of connection, or none.
    """
    if isinstance(connection, wanted):
        return
    other = isinstance(connection, psycopg.Connection | psycopg.AsyncConnection)
    raise ConfigurationError(
        f"cast({message!r}, connection=…) needs a psycopg.{wanted.__name__}, and got a {type(connection).__name__}. "
        f"Nothing was sent. {elsewhere if other else 'Pass the connection whose transaction it is to be part of.'}"
    )

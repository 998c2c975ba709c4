"""What the doors take: each mistake is told in words, before anything is sent."""

from __future__ import annotations

from typing import Any

import psycopg
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

from revenant.codec import is_id
from revenant.config import LONGEST_WAIT
from revenant.entities.context import running
from revenant.entities.message import Message
from revenant.errors import ConfigurationError, InvalidArguments, ReplyNotFound
from revenant.wording import a
from revenant.workflows.replay import in_code


def seconds_of(timeout: object, default: float) -> float:
    """Return how long to wait; `default` where nothing is given.

    Raises:
        ConfigurationError: that is no number of seconds.
    """
    if timeout is None:
        return default
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 <= timeout <= LONGEST_WAIT:  # type: ignore[operator]  # it is a number by then
        raise ConfigurationError(
            f"timeout={timeout!r} is no time to wait: give seconds from 0 to {LONGEST_WAIT:,.0f}, such as "
            "timeout=5.0, or leave it out. Nothing was sent."
        )
    return float(timeout)  # type: ignore[arg-type]  # it is a number by now


def check_outside(what: str) -> None:
    """Refuse what the code of a workflow does past its flow.

    Raises:
        ConfigurationError: the code of a workflow runs.
    """
    if in_code.get():
        raise ConfigurationError(
            f"{what} by the code of a workflow, which would do so again whenever it runs again. Nothing was sent. Use "
            "flow.call(…), flow.cast(…) or flow.child(…), or do it in a step."
        )


def check_no_turn(what: str) -> None:
    """Refuse what a handler does through an application of which only the worker was started.

    Raises:
        ConfigurationError: a handler runs.
    """
    if running.get() is not None:
        raise ConfigurationError(
            f"{what} inside a handler, through the application, of which this process runs only the worker. Nothing "
            "was sent. Use self.turn: what turn.cast(…), turn.start(…), turn.signal(…) and turn.cancel(…) send leaves "
            "with the turn's commit. What has to be waited for belongs into a workflow."
        )


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


def named(what: str, name: object, id: object) -> dict[str, str]:
    """Return how a signal or an update is told from others: by its name, and by an id if it has one.

    Raises:
        InvalidArguments: one of them is no text, or empty: all such signals would be the same.
    """
    given = {"name": name} if id is None else {"name": name, "id": id}
    for part, value in given.items():
        if not isinstance(value, str) or not value:
            raise InvalidArguments(
                f"The {part} of {a(what)} is text that is not empty, and this one is {value!r}. Nothing was sent."
            )
    return given  # type: ignore[return-value]  # they are text by now


def check_connection(message: Message[Any], connection: object, wanted: type, elsewhere: str) -> None:
    """Refuse what is no connection of the kind that this door sends on.

    Raises:
        ConfigurationError: it is another kind of connection, or none.
    """
    if isinstance(connection, wanted):
        return
    other = isinstance(connection, psycopg.Connection | psycopg.AsyncConnection)
    raise ConfigurationError(
        f"cast({message!r}, connection=…) needs a psycopg.{wanted.__name__}, and got {a(type(connection).__name__)}. "
        f"Nothing was sent. {elsewhere if other else 'Pass the connection whose transaction it is to be part of.'}"
    )


def check_cast(message: Message[Any]) -> None:
    """Refuse to cast from inside a handler, past its turn.

    Raises:
        ConfigurationError: a handler runs.
    """
    if running.get() is not None:
        raise ConfigurationError(
            f"{message!r} was cast through the application inside a handler: it would leave even if "
            "the turn fails. Use self.turn.cast(message), which leaves with the turn's commit."
        )


def check_cancel(message_id: object) -> None:
    """Refuse to cancel what is no message, or from inside a handler.

    Raises:
        ReplyNotFound: that is no message's id.
        ConfigurationError: a handler runs.
    """
    check_reply(message_id)
    if running.get() is not None:
        raise ConfigurationError(
            f"Message {message_id} was to be cancelled through the application inside a handler: it would be, even if "
            "the turn fails. Use self.turn.cancel(message_id), which is part of the turn's commit."
        )

"""What `delete` and `passivate` look at first: a message that nobody would ever handle is not sent."""

from __future__ import annotations

import psycopg
from psycopg.errors import InsufficientPrivilege

from revenant.app import Revenant
from revenant.cli.failures import not_found
from revenant.cli.options import looking
from revenant.queue.facts import served
from revenant.queue.views import find_entity, workers


async def require_somebody(app: Revenant, kind: str, key: str, *, or_state: bool) -> None:
    """Go on if a live worker serves the kind, or, where that is enough, if the entity has state.

    Raises:
        click.ClickException: neither is so; it exits with 3.
    """
    async with looking(app) as connection:
        try:
            live = served(await workers(connection))
            has_state = await _has_state(connection, kind, key)
        except InsufficientPrivilege:
            return  # a role that may send, and not look
    if kind in live or (or_state and has_state):
        return
    raise not_found(
        f"{kind}({key!r}) has {'' if has_state else 'no '}state, and no live worker serves {kind}: nothing was sent. "
        f"Is the kind written as its class is? Live workers serve {', '.join(sorted(live)) or 'nothing'}."
    )


async def _has_state(connection: psycopg.AsyncConnection[object], kind: str, key: str) -> bool:
    found = await find_entity(connection, kind, key)
    return found is not None and found["version"] is not None

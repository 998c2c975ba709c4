"""Views of the states, one per kind, in the schema `revenant_state`: made, made anew when their class changes, dropped.

Invariant: only what carries our mark is ever changed, all of it in one transaction, and grants are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.errors import DependentObjectsStillExist, InvalidTableDefinition

from revenant.errors import ConfigurationError
from revenant.queue.views import Row, fetch
from revenant.sql import statement

Connection = psycopg.AsyncConnection[Any]
SCHEMA = "revenant_state"
MARK = "Made by `revenant views` for the kind "
_OWN = ("key", "version", "vsn", "updated_at")
_LONGEST = 63
"""Bytes of a name in Postgres."""


@dataclass(frozen=True, slots=True)
class View:
    """One kind's view: `columns` are its fields' names in JSON, and their types."""

    name: str
    kind: str
    vsn: int
    columns: Sequence[tuple[str, str]]

    @property
    def text(self) -> LiteralString:
        """The statements that make it."""
        names = _names([field for field, _ in self.columns])
        lines = [
            f",\n    {self._expression(field, kind)} as {_identifier(name)}"
            for name, (field, kind) in zip(names, self.columns, strict=True)
        ]
        return _filled(
            statement("create_view"),
            view=_identifier(self.name),
            kind=_literal(self.kind),
            columns="".join(lines),
        )

    @property
    def mark(self) -> str:
        """What its comment says."""
        return f"{MARK}{self.kind!r}, shape {hashlib.sha256(self.text.encode()).hexdigest()[:16]}"

    def _expression(self, field: str, kind: str) -> str:
        name = _literal(field)
        taken = f"e.state -> {name}" if kind == "jsonb" else f"e.state ->> {name}"
        typed = taken if kind in ("jsonb", "text") else f"({taken})::{kind}"
        # A state of another shape may hold something else under that name.
        return typed if self.vsn == 1 else f"case when e.vsn = {self.vsn} then {typed} end"


def name_views(kinds: Sequence[str]) -> dict[str, str]:
    """Return the views' names: as Postgres folds a name without quotes, unless two would be one."""
    folded = [kind.lower() for kind in kinds]
    return {kind: short(low if folded.count(low) == 1 else kind) for kind, low in zip(kinds, folded, strict=True)}


def short(name: str) -> str:
    """Return a name that Postgres does not cut."""
    data = name.encode()
    if len(data) <= _LONGEST:
        return name
    return data[:50].decode(errors="ignore") + "_" + hashlib.sha256(data).hexdigest()[:12]


def script(views: Sequence[View]) -> str:
    """Return what makes the views, to be read or run by somebody else."""
    parts: list[str] = [statement("create_view_schema")]
    parts += [f"{view.text}\n{_comment(view)}" for view in views]
    return "\n\n".join(parts) + "\n"


async def make_views(connection: Connection, views: Sequence[View], *, cascade: bool) -> dict[str, str]:
    """Make the views that are missing or no longer as their classes say; return what was done, by name.

    Raises:
        ConfigurationError: something of that name is not ours, or other objects depend on a view that must be dropped.
    """
    async with connection.transaction():
        if not await fetch(connection, statement("find_view_schema")):
            await connection.execute(statement("create_view_schema"))
        return {view.name: await _make(connection, view, cascade=cascade) for view in views}


async def drop_views(connection: Connection, views: Sequence[View], *, cascade: bool) -> dict[str, str]:
    """Drop the views; return what was done, by name."""
    done = {}
    async with connection.transaction():
        for view in views:
            if await _found(connection, view) is not None:
                await _drop(connection, view, cascade=cascade)
                done[view.name] = "dropped"
    return done


async def _make(connection: Connection, view: View, *, cascade: bool) -> str:
    found = await _found(connection, view)
    if found is not None and found["mark"] == view.mark:
        return "as it was"
    done = "made" if found is None else "changed"
    try:
        # Keeps the view's grants, and what depends on it, where columns were only added at its end.
        async with connection.transaction():
            await connection.execute(view.text)
    except InvalidTableDefinition:
        assert found is not None
        grants = await fetch(connection, statement("list_view_grants"), view=view.name)
        await _drop(connection, view, cascade=cascade)
        await connection.execute(view.text)
        await _restore(connection, view, found["owner"], grants)
        done = "made anew"
    await connection.execute(_comment(view))
    return done


async def _found(connection: Connection, view: View) -> Row | None:
    rows = await fetch(connection, statement("find_view"), view=view.name)
    if rows and not str(rows[0]["mark"]).startswith(f"{MARK}{view.kind!r}, "):
        raise ConfigurationError(
            f"{SCHEMA}.{view.name} is there and was not made for the kind {view.kind!r} by this command. Nothing was "
            "changed. Rename it, or drop it if nobody needs it."
        )
    return rows[0] if rows else None


async def _drop(connection: Connection, view: View, *, cascade: bool) -> None:
    text = _filled(statement("drop_view"), view=_identifier(view.name), how="cascade" if cascade else "restrict")
    try:
        await connection.execute(text)
    except DependentObjectsStillExist as error:
        raise ConfigurationError(
            f"{SCHEMA}.{view.name} has to be dropped, since columns that its class no longer has, or has otherwise, "
            f"cannot go in place; and other objects depend on it: {error.diag.message_detail}. Nothing was changed. "
            "Drop them first and make them again afterwards, or have --cascade drop them."
        ) from error


async def _restore(connection: Connection, view: View, owner: str, grants: Sequence[Row]) -> None:
    name = _identifier(view.name)
    await connection.execute(_filled(statement("own_view"), view=name, owner=_identifier(owner)))
    for grant in grants:
        grantee = "public" if grant["grantee"] is None else _identifier(grant["grantee"])
        option = " with grant option" if grant["grantable"] else ""
        text = _filled(statement("grant_view"), privilege=grant["privilege"], view=name, grantee=grantee, option=option)
        await connection.execute(text)


def _comment(view: View) -> LiteralString:
    return _filled(statement("mark_view"), view=_identifier(view.name), mark=_literal(view.mark))


def _filled(text: LiteralString, **parts: str) -> LiteralString:
    """Return a statement with names and literals that are quoted already: it is as safe as the file that it is of."""
    filled: Any = text % parts
    return filled  # type: ignore[no-any-return]  # to mypy a LiteralString is a str, to pyright it is not


def _names(fields: Sequence[str]) -> list[str]:
    """Return the columns' names, none twice and none of our own."""
    taken = {*_OWN}
    names = []
    for field in fields:
        name = short(field)
        while name in taken:
            name = short(f"state_{name}")
        taken.add(name)
        names.append(name)
    return names


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string()


def _literal(value: str) -> str:
    return sql.Literal(value).as_string()

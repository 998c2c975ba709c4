"""One typed view per kind: what its columns are, and how it follows its class without losing what hangs on it."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic import Field, NaiveDatetime, PlainSerializer

from revenant.app import Revenant
from revenant.cli.views import views_of
from revenant.entities.entity import Entity
from revenant.entities.snapshot import dump_state
from revenant.errors import ConfigurationError
from revenant.queue.stateviews import View, drop_views, make_views, name_views, script
from tests.tools import rows, value

Connection = psycopg.AsyncConnection[Any]


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Level(enum.IntEnum):
    LOW = 1


class Odd(Entity, kind='odd "Kind" %s; drop'):
    """Fields of many types, with names that SQL does not like."""

    big: int = 0
    ratio: float | None = None
    price: Decimal = Decimal(0)
    name: str | None = None
    flag: bool = False
    when: datetime | None = None
    day: date | None = None
    id: UUID | None = None
    mood: Mood = Mood.GOOD
    level: Level = Level.LOW
    literal: Literal["a", "b"] = "a"
    mixed: Literal["a", 1] = "a"
    raw: bytes = b""
    words: list[str] = Field(default_factory=list)
    anything: Any = None
    naive: NaiveDatetime | None = None
    written: Annotated[int, PlainSerializer(lambda number: f"no. {number}", return_type=str)] = 0
    version: int = 0
    renamed: int = Field(0, alias='Select "x" %s')
    inner: Odd | None = None


TYPES = {
    "big": "bigint", "ratio": "double precision", "price": "numeric", "name": "text", "flag": "boolean",
    "when": "timestamp with time zone", "day": "date", "id": "uuid", "mood": "text", "level": "bigint",
    "literal": "text", "mixed": "jsonb", "raw": "text", "words": "jsonb", "anything": "jsonb", "naive": "text",
    "written": "jsonb", "state_version": "bigint", 'Select "x" %s': "bigint", "inner": "jsonb",
}  # fmt: skip


def views(*entities: type[Entity]) -> list[View]:
    return views_of(Revenant(entities=entities, database_url="postgresql://nowhere"))


async def store(connection: Connection, state: Entity, *, vsn: int = 1) -> None:
    kind = state.entity_kind
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "values (revenant.bucket_v1(%(kind)s, 'k'), %(kind)s, 'k', 1, %(vsn)s, %(state)s::jsonb, 0)",
        {"kind": kind, "vsn": vsn, "state": dump_state(state, key="k", limit=10_000)},
    )


async def columns(connection: Connection, view: str) -> dict[str, str]:
    found = await rows(
        connection,
        "select column_name, data_type from information_schema.columns "
        "where table_schema = 'revenant_state' and table_name = %s order by ordinal_position",
        view,
    )
    return dict(found)


async def test_a_view_has_one_typed_column_per_field_whatever_their_names(connection: Connection) -> None:
    made = views(Odd)
    assert set((await make_views(connection, made, cascade=False)).values()) == {"made"}
    found = await columns(connection, made[0].name)
    assert list(found)[:4] == ["key", "version", "vsn", "updated_at"]
    assert dict(list(found.items())[4:]) == TYPES
    when, known = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), uuid4()
    await store(
        connection,
        Odd.model_validate(
            {"big": 2**62, "ratio": 1e300, "price": "1.50", "name": "a'b\"c", "flag": True, "when": when, "id": known}
            | {"mood": "bad", "words": ["x"], 'Select "x" %s': 7, "version": 9, "day": "2026-01-02"}
        ),
    )
    taken = await rows(connection, f"select * from revenant_state.{_quoted(made[0].name)}")
    row = dict(zip(found, taken[0], strict=True))
    assert (row["key"], row["version"], row["vsn"]) == ("k", 1, 1)
    assert (row["big"], row["ratio"], row["price"], row["name"]) == (2**62, 1e300, Decimal("1.50"), "a'b\"c")
    assert (row["flag"], row["when"], row["day"], row["id"]) == (True, when, date(2026, 1, 2), known)
    assert (row["mood"], row["words"], row["state_version"], row['Select "x" %s']) == ("bad", ["x"], 9, 7)
    assert row["inner"] is None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_views_are_named_as_postgres_folds_names_and_never_two_alike() -> None:
    assert name_views(["Account", "demo.Aircraft"]) == {"Account": "account", "demo.Aircraft": "demo.aircraft"}
    assert name_views(["Account", "account"]) == {"Account": "Account", "account": "account"}
    long = name_views(["k" * 100, "k" * 101])
    assert len(set(long.values())) == 2
    assert all(len(name.encode()) <= 63 for name in long.values())


class One(Entity, kind="thing"):
    """As it was first."""

    a: int = 0
    b: str = ""


class Two(Entity, kind="thing"):
    """With a field more, at the end."""

    a: int = 0
    b: str = ""
    c: bool = True


class Three(Entity, kind="thing", vsn=2):
    """With a field less, and one of another type."""

    a: str = ""
    c: bool = True


async def oid(connection: Connection) -> Any:
    return await value(connection, "select 'revenant_state.thing'::regclass::oid::int")


async def grants(connection: Connection) -> Any:
    return await rows(
        connection,
        "select a.grantee::regrole::text, a.privilege_type, a.is_grantable from pg_class c, aclexplode(c.relacl) a "
        "where c.oid = 'revenant_state.thing'::regclass and a.grantee <> c.relowner order by 1, 2",
    )


async def test_views_follow_their_classes_and_keep_their_grants(connection: Connection) -> None:
    role = f"reader_{uuid4().hex}"
    await connection.execute(f"create role {role}")
    try:
        assert await make_views(connection, views(One), cascade=False) == {"thing": "made"}
        await connection.execute(f"grant select on revenant_state.thing to {role} with grant option")
        await connection.execute("grant select on revenant_state.thing to public")
        before, given = await oid(connection), await grants(connection)
        assert len(given) == 2
        assert await make_views(connection, views(One), cascade=False) == {"thing": "as it was"}
        assert await make_views(connection, views(Two), cascade=False) == {"thing": "changed"}
        assert await oid(connection) == before
        await connection.execute("create view dependent as select a from revenant_state.thing")
        with pytest.raises(ConfigurationError, match="view dependent depends on"):
            await make_views(connection, views(Three), cascade=False)
        assert list(await columns(connection, "thing"))[4:] == ["a", "b", "c"]
        await connection.execute("drop view dependent")
        assert await make_views(connection, views(Three), cascade=False) == {"thing": "made anew"}
        assert await columns(connection, "thing") | {"a": "text", "c": "boolean"} == await columns(connection, "thing")
        assert await grants(connection) == given
        await connection.execute("create view dependent as select a from revenant_state.thing")
        assert await make_views(connection, views(One), cascade=True) == {"thing": "made anew"}
        assert await value(connection, "select to_regclass('dependent')") is None
        assert await drop_views(connection, views(One), cascade=False) == {"thing": "dropped"}
        assert await drop_views(connection, views(One), cascade=False) == {}
    finally:
        await connection.execute(f"drop owned by {role}")
        await connection.execute(f"drop role {role}")


async def test_a_state_of_another_shape_is_listed_and_breaks_no_query(connection: Connection) -> None:
    await make_views(connection, views(Three), cascade=False)
    await store(connection, Three(a="new"), vsn=2)
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "values (revenant.bucket_v1('thing', 'old'), 'thing', 'old', 1, 1, %s, 0)",
        (Jsonb({"a": 1, "c": "was a word once"}),),
    )
    assert await rows(connection, "select key, vsn, a, c from revenant_state.thing order by key") == [
        ("k", 2, "new", True),
        ("old", 1, None, None),
    ]


async def test_an_index_on_a_columns_expression_is_used_through_the_view(connection: Connection) -> None:
    await make_views(connection, views(Two), cascade=False)
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('thing', n::text), 'thing', n::text, 1, 1, jsonb_build_object('a', n), 0 "
        "from generate_series(1, 5000) n"
    )
    assert "(e.state ->> 'a')::bigint as" in script(views(Two))
    await connection.execute(
        "create index thing_a on revenant.entities (((state ->> 'a')::bigint)) where kind = 'thing'"
    )
    await connection.execute("analyze revenant.entities")
    plan = await rows(connection, "explain select key from revenant_state.thing where a = 77")
    assert "thing_a" in str(plan)
    assert await value(connection, "select key from revenant_state.thing where a = 77") == "77"


async def test_what_is_not_ours_is_left_alone(connection: Connection) -> None:
    await connection.execute("create schema revenant_state")
    await connection.execute("create table revenant_state.thing (a int)")
    for act in (make_views, drop_views):
        with pytest.raises(ConfigurationError, match="not made for the kind 'thing'"):
            await act(connection, views(One), cascade=True)
    assert await value(connection, "select count(*) from revenant_state.thing") == 0


async def test_a_failure_leaves_all_views_as_they_were(connection: Connection) -> None:
    class Other(Entity, kind="another"):
        z: int = 0

    await connection.execute("create schema revenant_state")
    await connection.execute("create table revenant_state.thing (a int)")
    with pytest.raises(ConfigurationError):
        await make_views(connection, views(Other, One), cascade=False)
    assert await value(connection, "select to_regclass('revenant_state.another')") is None

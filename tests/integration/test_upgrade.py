"""Stored states brought to the shape of their class: as they load, and all of a kind at once."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import StateInvalid
from revenant.worker.upgrade import Tally, Upgrade
from revenant.worker.worker import Worker
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]


class Parcel(Entity, kind="parcel", vsn=4):
    """Its third shape had a class, an enum and a field that are gone."""

    grams: int
    label: str = ""

    @classmethod
    def initial(cls, key: str) -> Parcel:
        return cls(grams=0)

    @classmethod
    def upgrade(cls, vsn: int, state: dict[str, Any]) -> dict[str, Any]:
        match vsn:
            case 1:
                return {"weight": {"unit": "KILO", "amount": state["kilos"]}}
            case 2:
                return {**state, "colour": state.get("colour", "RED")}
            case _:
                grams = state["weight"]["amount"] * {"KILO": 1000, "TON": 1_000_000}[state["weight"]["unit"]]
                return {"grams": grams, "label": state["colour"].lower()}

    @handler
    async def add(self, grams: int) -> int:
        self.grams += grams
        return self.grams

    @handler
    async def look(self) -> tuple[int, str]:
        return self.grams, self.label


@pytest.fixture
async def app(database: str, settings: Settings) -> Any:
    async with Revenant(entities=[Parcel], database_url=database, settings=settings) as application:
        yield application


@pytest.fixture
async def stored(connection: Connection) -> Connection:
    await connection.execute(
        """
        insert into revenant.entities (bucket, kind, key, version, vsn, state, applied, updated_at)
        select revenant.bucket_v1('parcel', key), 'parcel', key, 7, vsn, state::jsonb, 0, '2026-01-01Z'
        from (
            values ('one', 1, '{"kilos": 2}'), ('two', 2, '{"weight": {"unit": "TON", "amount": 1}}'),
                ('three', 3, '{"weight": {"unit": "KILO", "amount": 3}, "colour": "BLUE"}'),
                ('four', 4, '{"grams": 4, "label": ""}'), ('newer', 5, '{"anything": 1}'),
                ('no unit', 3, '{"weight": {"unit": "STONE", "amount": 3}, "colour": "BLUE"}'),
                ('no fit', 4, '{"grams": "many"}')
        ) as s (key, vsn, state)
        """
    )
    return connection


BAD = {
    "no unit": ("(root)", "from vsn 3 to 4: KeyError: 'STONE'"),
    "no fit": ("grams", "valid integer"),
}


async def upgrade(connection: Connection, *, dry_run: bool = False) -> Tally:
    return await Upgrade(Parcel, limit=10_000, dry_run=dry_run, on_page=lambda _: None).run(connection)


async def everything(connection: Connection) -> Any:
    return await rows(connection, "select xmin::text, e.* from revenant.entities e order by key")


@pytest.mark.usefixtures("stored")
async def test_states_of_every_older_shape_are_upgraded_step_by_step_as_they_load(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    before = await everything(connection)
    assert await app.ref(Parcel, "one").look() == (2000, "red")
    assert await app.ref(Parcel, "two").look() == (1_000_000, "red")
    assert await app.ref(Parcel, "three").look() == (3000, "blue")
    # Only looked at: not even their rows are touched.
    assert await everything(connection) == before
    assert await app.ref(Parcel, "one").add(1) == 2001
    assert await rows(connection, "select version, vsn, state from revenant.entities where key = 'one'") == [
        (8, 4, {"grams": 2001, "label": "red"})
    ]
    assert worker.counters.turns


@pytest.mark.usefixtures("stored", "worker")
async def test_a_failing_upgrade_keeps_the_state_and_the_casts_and_tells_callers(
    app: Revenant, connection: Connection
) -> None:
    parcel = app.ref(Parcel, "no unit")
    await app.cast(parcel.add(1))
    with pytest.raises(StateInvalid, match="from vsn 3 to 4: KeyError: 'STONE'"):
        await parcel.look()
    assert await value(connection, "select count(*) from revenant.messages") == 1
    assert await value(connection, "select count(*) from revenant.dead") == 0
    assert await value(connection, "select vsn from revenant.entities where key = 'no unit'") == 3


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("made", "words"),
    [(None, "returned a NoneType"), ({"grams": object()}, "not JSON serializable"), ({"grams": float("nan")}, "JSON")],
)
async def test_an_upgrade_that_returns_no_json_object_says_so(
    app: Revenant, made: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parcel, "upgrade", classmethod(lambda cls, vsn, state: made))
    with pytest.raises(StateInvalid, match=words):
        await app.state(Parcel, "three")


async def test_a_dry_run_finds_every_row_that_would_fail_and_changes_nothing(stored: Connection) -> None:
    before = await everything(stored)
    tally = await upgrade(stored, dry_run=True)
    assert await everything(stored) == before
    assert (tally.rows, tally.older, tally.upgraded, tally.newer) == (7, 3, 0, 1)
    assert {flaw.key: flaw.path for flaw in tally.flaws} == {key: path for key, (path, _) in BAD.items()}
    for flaw in tally.flaws:
        assert BAD[flaw.key][1] in flaw.why


async def test_all_rows_are_upgraded_and_those_that_fail_stay_as_they_are(stored: Connection) -> None:
    before = {row[3]: row for row in await everything(stored)}
    tally = await upgrade(stored)
    assert (tally.rows, tally.older, tally.upgraded, tally.newer, len(tally.flaws)) == (7, 3, 3, 1, 2)
    after = {row[3]: row for row in await everything(stored)}
    for key in ("four", "newer", *BAD):
        assert after[key] == before[key]
    query = "select key, version, vsn, state, updated_at = '2026-01-01Z' from revenant.entities where key = any(%s) order by 1"
    assert await rows(stored, query, ["one", "two", "three"]) == [
        ("one", 7, 4, {"grams": 2000, "label": "red"}, True),
        ("three", 7, 4, {"grams": 3000, "label": "blue"}, True),
        ("two", 7, 4, {"grams": 1_000_000, "label": "red"}, True),
    ]
    again = await upgrade(stored)
    assert (again.upgraded, len(again.flaws)) == (0, 2)


async def test_an_upgrade_goes_on_where_it_was_interrupted_and_by_pages(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revenant.queue.upgrades.PAGE", 3)
    monkeypatch.setattr("revenant.worker.upgrade.PAGE", 3)
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('parcel', n::text), 'parcel', n::text, 1, 1, '{\"kilos\": 1}', 0 "
        "from generate_series(1, 2000) n"
    )

    class Interrupted(BaseException):
        pass

    def interrupt(tally: Tally) -> None:
        if tally.upgraded > 500:
            raise Interrupted

    with pytest.raises(Interrupted):
        await Upgrade(Parcel, limit=1000, dry_run=False, on_page=interrupt).run(connection)
    assert 500 < await value(connection, "select count(*) from revenant.entities where vsn = 4") < 2000
    tally = await upgrade(connection)
    assert tally.rows == 2000
    assert await rows(connection, "select vsn, count(*) from revenant.entities group by 1") == [(4, 2000)]


async def test_an_entity_that_is_busy_is_come_back_to_and_never_waited_for(stored: Connection, database: str) -> None:
    # The first that the walk meets: one that waited for it would not come to the others.
    good = "key in ('one', 'two', 'three')"
    key = await value(stored, f"select key from revenant.entities where {good} order by bucket limit 1")
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("select from revenant.entities where key = %s for no key update", (key,))
        walking = asyncio.create_task(upgrade(stored))
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as looking:
            older = f"select 1 from revenant.entities where {good} and vsn < 4 having count(*) = 1"
            await eventually(lambda: rows(looking, older))
        # What the holder commits is what is upgraded afterwards.
        changed = """update revenant.entities set vsn = 1, state = '{"kilos": 5}', version = 8 where key = %s"""
        await holder.execute(changed, (key,))
        await holder.commit()
    tally = await walking
    assert tally.upgraded == 3
    assert await rows(stored, "select version, vsn, state from revenant.entities where key = %s", key) == [
        (8, 4, {"grams": 5000, "label": "red"})
    ]


@pytest.mark.usefixtures("worker")
async def test_messages_and_an_upgrade_at_once_lose_nothing(app: Revenant, connection: Connection) -> None:
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('parcel', n::text), 'parcel', n::text, 1, 1, '{\"kilos\": 1}', 0 "
        "from generate_series(1, 300) n"
    )
    refs = [app.ref(Parcel, str(number)) for number in range(1, 301)]
    calls = [app.call(ref.add(1), timeout=30) for ref in refs for _ in range(3)]
    upgrading = asyncio.create_task(upgrade(connection))
    await asyncio.gather(*calls)
    assert (await upgrading).flaws == []
    assert await rows(
        connection, "select version, vsn, state->>'grams', count(*) from revenant.entities group by 1, 2, 3"
    ) == [(4, 4, "1003", 300)]

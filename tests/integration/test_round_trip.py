"""State comes back from Postgres exactly equal, whatever type that pydantic knows it is of; what would not is refused."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from revenant.entities.entity import Entity
from revenant.entities.jsonb import as_stored
from revenant.entities.likeness import difference
from revenant.entities.snapshot import check_readable, dump_state, load_state
from revenant.errors import Unstorable

QUICK = hypothesis_settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 9


class Word(enum.StrEnum):
    A = "a"


class Line(BaseModel):
    sku: str
    price: Decimal
    tags: frozenset[str] = frozenset()
    inner: Line | None = None


class Cat(BaseModel):
    type: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    type: Literal["dog"] = "dog"
    barks: list[float] = []


Pet = Annotated[Cat | Dog, Field(discriminator="type")]


@dataclass
class Point:
    x: float
    y: int


class Everything(Entity):
    """One field of each type."""

    when: datetime
    day: date
    clock: time
    span: timedelta
    price: Decimal
    id: UUID
    raw: bytes
    words: set[str]
    numbers: frozenset[int]
    pair: tuple[int, str]
    many: tuple[Decimal, ...]
    colour: Colour
    level: Level
    word: Word
    line: Line
    pet: Pet
    pets: list[Pet]
    point: Point
    weight: float
    big: int
    by_day: dict[date, list[UUID]]
    by_number: dict[int, bytes]
    maybe: datetime | None
    either: int | str
    literal: Literal["x", 3]
    flag: bool
    anything: Any


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
# What is given to a float field is a float; Postgres' numeric knows one zero only, which is equal to both.
floats = st.floats(allow_nan=False, allow_infinity=False)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
either: st.SearchStrategy[Any] = st.one_of(st.none(), zones)
moments = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29), timezones=either)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
lines = st.builds(Line, sku=text, price=decimals, tags=st.frozensets(text), inner=st.none())
pets = st.builds(Cat, lives=st.integers()) | st.builds(Dog, barks=st.lists(floats, max_size=3))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "when": moments,
    "day": st.dates(),
    "clock": st.times(timezones=either),
    "span": st.timedeltas(timedelta(days=-999_999), timedelta(days=999_999)),
    "price": decimals,
    "id": st.uuids(),
    "raw": st.binary(max_size=12),
    "words": st.sets(text, max_size=4),
    "numbers": st.frozensets(st.integers(), max_size=4),
    "pair": st.tuples(st.integers(), text),
    "many": st.lists(decimals, max_size=3).map(tuple),
    "colour": st.sampled_from(Colour),
    "level": st.sampled_from(Level),
    "word": st.sampled_from(Word),
    "line": lines | st.builds(Line, sku=text, price=decimals, tags=st.just(frozenset()), inner=lines),
    "pet": pets,
    "pets": st.lists(pets, max_size=3),
    "point": st.builds(Point, x=floats, y=st.integers()),
    "weight": floats,
    "big": st.integers(-(10**60), 10**60),
    "by_day": st.dictionaries(st.dates(), st.lists(st.uuids(), max_size=2), max_size=3),
    "by_number": st.dictionaries(st.integers(), st.binary(max_size=4), max_size=3),
    "maybe": st.none() | moments,
    "either": st.integers() | text,
    "literal": st.sampled_from(["x", 3]),
    "flag": st.booleans(),
    "anything": plain,
}


@pytest.fixture
def postgres(server_url: str) -> Iterator[psycopg.Connection[tuple[str]]]:
    """A connection on which a document goes into jsonb and comes out again."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        yield connection


def through(postgres: psycopg.Connection[tuple[str]], document: str) -> str:
    row = postgres.execute("select (%s::text)::jsonb::text", (document,)).fetchone()
    assert row is not None
    return row[0]


@QUICK
@given(values=st.fixed_dictionaries(FIELDS))
def test_every_type_comes_back_from_postgres_exactly_equal(
    postgres: psycopg.Connection[tuple[str]], values: dict[str, Any]
) -> None:
    state = Everything(**values)
    document = dump_state(state, key="k", limit=1_000_000)
    read = load_state(Everything, "k", state=through(postgres, document), vsn=1)
    assert difference(state, read, exact=True) is None
    for name, value in values.items():
        assert getattr(read, name) == value
        assert type(getattr(read, name)) is type(getattr(state, name))
    # And what proves it in a worker, without Postgres, finds nothing either.
    check_readable(state, document, key="k", prove=True)


@QUICK
@given(document=st.dictionaries(text, st.recursive(plain | floats, lambda inner: st.lists(inner), max_leaves=4)))
def test_what_jsonb_gives_back_is_known_without_asking_it(
    postgres: psycopg.Connection[tuple[str]], document: dict[str, Any]
) -> None:
    written = json.dumps(document)
    theirs = through(postgres, written)
    assert json.loads(as_stored(written), parse_float=str) == json.loads(theirs, parse_float=str)
    assert list(json.loads(as_stored(written))) == list(json.loads(theirs))


class Loose(Entity):
    """Fields that take what would not come back."""

    anything: Any = None
    ordered: OrderedDict[str, int] = Field(default_factory=OrderedDict)
    weight: float = 0.0


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"anything": {"deep": [1, (2, 3)]}}, "anything.deep.1"),
        ({"anything": {"a": {1, 2}}}, "anything.a"),
        ({"ordered": OrderedDict(bb=1, a=2)}, "ordered"),
        ({"ordered": OrderedDict(a=2, bb=1), "anything": [1, {"b": None}]}, None),
        ({"weight": 1e300, "anything": 1e22}, None),
    ],
    ids=repr,
)
def test_what_would_not_come_back_is_named_where_state_is_proved(values: dict[str, Any], path: str | None) -> None:
    state = Loose(**values)
    document = dump_state(state, key="k", limit=10_000)
    if path is None:
        check_readable(state, document, key="k", prove=True)
        return
    with pytest.raises(Unstorable, match="another one") as caught:
        check_readable(state, document, key="k", prove=True)
    assert caught.value.path == path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_floats_that_json_does_not_have_are_refused(value: float) -> None:
    state = Loose()
    state.weight = value
    with pytest.raises(Unstorable) as caught:
        dump_state(state, key="k", limit=1000)
    assert caught.value.path == "weight"

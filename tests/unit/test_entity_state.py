"""State that would not come back as it was written is refused: by the class where that shows, else at the write."""

from __future__ import annotations

import collections
import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    computed_field,
    field_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass

from revenant.app import Revenant
from revenant.codec import JSON
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.entities.likeness import difference
from revenant.entities.shape import shape_of
from revenant.entities.snapshot import check_readable, dump_state, load_state
from revenant.errors import ConfigurationError, Unstorable


class Colour(enum.Enum):
    RED = 1


class Line(BaseModel):
    sku: str = ""
    price: Decimal = Decimal(0)


class Discounted(Line):
    """More than a line: as one it would come back without its discount."""

    discount: Decimal = Decimal(0)


class Renamed(BaseModel):
    a: int = Field(0, serialization_alias="b")


class Hidden(BaseModel):
    a: int = Field(0, exclude=True)


@pydantic_dataclass
class HiddenPart:
    a: int = Field(0, exclude=True)


class Early(Entity):
    it: Later | None = None


class Later(BaseModel):
    a: int = Field(0, exclude=True)


class Cat(BaseModel):
    type: Literal["cat"] = "cat"
    name: SecretStr = SecretStr("")


class Dog(BaseModel):
    type: Literal["dog"] = "dog"


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "written under another name": (
        int,
        Field(0, serialization_alias="b"),
        r"State.it is written as 'b' and read as 'it'",
    ),
    "read by another name": (int, Field(0, validation_alias="b"), r"State.it is written as 'it' and read as 'b'"),
    "read from inside another": (int, Field(0, validation_alias=AliasPath("b", 0)), r"read as 'b.0'"),
    "excluded": (int, Field(0, exclude=True), r"State.it is excluded"),
    "a secret": (SecretStr, SecretStr(""), r"State.it is a secret"),
    "secret bytes": (SecretBytes | None, None, r"State.it is a secret"),
    "any secret": (dict[str, list[Secret[int]]], {}, r"State.it is a secret"),
    "an iterator": (Iterable[int], (), r"State.it is an iterator"),
    "inside a model": (list[Renamed], [], r"Renamed.a is written as 'b'"),
    "inside an optional model": (Hidden | None, None, r"Hidden.a is excluded"),
    "inside a dataclass": (HiddenPart | None, None, r"HiddenPart.a is excluded"),
    "inside one of several": (Annotated[Cat | Dog, Field(discriminator="type")], Dog(), r"Cat.name is a secret"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_field_that_would_not_come_back_is_refused_with_its_class(case: str) -> None:
    annotation, default, words = REFUSED[case]
    namespace = {"__annotations__": {"it": annotation}, "it": default, "__module__": __name__}
    with pytest.raises(ConfigurationError, match=words):
        type("State", (Entity,), namespace)


def test_a_field_whose_type_is_defined_later_is_looked_at_when_the_application_is_put_together() -> None:
    with pytest.raises(ConfigurationError, match=r"Later.a is excluded"):
        Revenant(entities=[Early], database_url="postgresql://nowhere")

    class Never(Entity):
        it: NoSuchType | None = None  # type: ignore[name-defined]  # noqa: F821 # a mistake, told at the start

    with pytest.raises(ConfigurationError, match="NoSuchType"):
        Revenant(entities=[Never], database_url="postgresql://nowhere")


def test_an_argument_that_would_not_arrive_is_refused_with_its_handler() -> None:
    class Login(Entity):
        @handler
        async def enter(self, name: str, password: SecretStr) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Login.enter\(password\) is a secret"):
        Revenant(entities=[Login], database_url="postgresql://nowhere")


class Names(Entity):
    """Fields whose names differ in ways that come back."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    several_words: int = 0
    either: int = Field(0, validation_alias=AliasChoices("old", "either"), serialization_alias="either")
    both: int = Field(0, alias="b")
    text: Json[list[int]] = Field(default_factory=lambda: [1])

    @computed_field
    def doubled(self) -> int:
        return self.several_words * 2


class ByName(Entity):
    """Read by the field's own name, too."""

    model_config = ConfigDict(validate_by_name=True)

    it: int = Field(0, validation_alias="that")


class Revealed(Entity):
    """A secret that is written as what it is, at the author's word."""

    word: SecretStr = SecretStr("")

    @field_serializer("word")
    def reveal(self, word: SecretStr) -> str:
        return word.get_secret_value()


class Adapted(Entity):
    """A validator of its own reads what is written under another name."""

    a: int = Field(0, serialization_alias="b")

    @model_validator(mode="before")
    @classmethod
    def from_b(cls, value: Any) -> Any:
        return {"a": value["b"]} if isinstance(value, dict) and "b" in value else value


@pytest.mark.parametrize(
    "state",
    [Names(several_words=2, old=3, b=4), ByName(it=1), Revealed(word=SecretStr("s")), Adapted(a=5)],
    ids=repr,
)
def test_names_and_writers_that_fit_each_other_are_taken(state: Entity) -> None:
    text = dump_state(state, key="k", limit=1000)
    check_readable(state, text, key="k")
    read = load_state(type(state), "k", state=text, vsn=1)
    assert read.__dict__ == state.__dict__


class Point(NamedTuple):
    x: int


@dataclass
class Part:
    n: int = 0


class Wide(Entity):
    """Values of many types, and one of any."""

    anything: Any = None
    line: Line | None = None
    lines: list[Line] = Field(default_factory=list)
    either: datetime | str = ""
    rounded: Annotated[float, PlainSerializer(lambda value: round(value, 1))] = 0.0
    when: datetime | None = None
    at: time | None = None
    array: Sequence[str] = ()
    named: Mapping[str, Part] = Field(default_factory=dict)
    pattern: re.Pattern[str] | None = None


BERLIN = ZoneInfo("Europe/Berlin")


def checked(**values: Any) -> None:
    state = Wide(**values)
    check_readable(state, dump_state(state, key="k", limit=10_000), key="k")


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"anything": datetime(2026, 1, 1, tzinfo=UTC)}, "anything"),
        ({"anything": {"deep": [1, {2: 3}]}}, "anything.deep.1"),
        ({"anything": b"raw"}, "anything"),
        ({"anything": UUID(int=1)}, "anything"),
        ({"line": Discounted(sku="a", discount=Decimal(1))}, "line"),
        ({"lines": [Line(), Discounted()]}, "lines.1"),
        ({"either": "2026-01-01T00:00:00Z"}, "either"),
        ({"rounded": 0.15}, "rounded"),
        ({"at": time(1, 2)}, None),
        ({"pattern": re.compile("a", re.IGNORECASE)}, "pattern"),
        ({"anything": [1, (2, 3)]}, None),
        ({"array": ("a", "b")}, None),
        ({"named": {"a": Part(1)}}, None),
        ({"rounded": 0.5}, None),
        # The hour that comes twice: times of two zones are never equal inside it.
        ({"when": datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)}, None),
        ({"when": datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), "anything": 1.5}, None),
    ],
    ids=repr,
)
def test_a_value_that_would_come_back_as_another_one_is_not_stored(values: dict[str, Any], path: str | None) -> None:
    if path is None:
        checked(**values)
        return
    with pytest.raises(Unstorable, match="would come back as another") as caught:
        checked(**values)
    assert caught.value.path == path


SURE: list[tuple[Any, Any]] = [
    (int, 10**30),
    (float, 5e-324),
    (bool, True),
    (bytes, b"\xff\0"),
    (Decimal, Decimal("1.10E+5")),
    (date, date.min),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (UUID, UUID(int=7)),
    (Colour, Colour.RED),
    (dict[int, set[str]], {1: {"a"}}),
    (dict[date, tuple[int, ...]], {date.max: (1, 2)}),
    (list[Colour | None], [None, Colour.RED]),
]


@pytest.mark.parametrize(("annotation", "value"), SURE, ids=repr)
def test_what_is_not_compared_comes_back_equal(annotation: Any, value: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=JSON)
    assert not shape_of(adapter.core_schema, "it").must_compare
    assert adapter.validate_json(adapter.dump_json(value)) == value


@pytest.mark.parametrize(
    "annotation", [Any, int | str, datetime, time, Point, Part, collections.deque[int], Json[int], Line], ids=repr
)
def test_what_may_come_back_otherwise_is_compared(annotation: Any) -> None:
    assert shape_of(TypeAdapter(annotation).core_schema, "it").must_compare


class Array:
    """As an array of numbers is: comparing it gives no truth value."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]  # it is mutable


class Opaque:
    """Compares by identity."""


@pytest.mark.parametrize("value", [Array, Opaque, lambda: Decimal("nan")], ids=["array", "opaque", "nan"])
def test_what_cannot_be_compared_is_taken_at_its_word(value: Any) -> None:
    assert difference({"a": [value()]}, {"a": [value()]}) is None
    assert difference({"a": [value()]}, {"a": ["something else"]}) == "a.0"


def test_an_initial_state_of_another_kind_is_refused() -> None:
    class Wrong(Entity):
        @classmethod
        def initial(cls, key: str) -> Any:
            cls()

    with pytest.raises(ConfigurationError, match=r"return cls\("):
        load_state(Wrong, "k", state=None, vsn=None)


class Unfinished(Entity):
    """Does not say how its entities begin."""

    owner: str
    balance: int = 0


def test_a_class_that_does_not_say_how_its_entities_begin_is_refused_with_its_field() -> None:
    for begin in (lambda: Revenant(entities=[Unfinished]), lambda: load_state(Unfinished, "k", state=None, vsn=None)):
        with pytest.raises(
            ConfigurationError, match=r"Unfinished.*'owner' has no default.*`owner: str.*initial\(cls, key"
        ):
            begin()


def test_an_initial_that_makes_a_wrong_state_is_named_with_its_field() -> None:
    class Wrong(Unfinished):
        @classmethod
        def initial(cls, key: str) -> Any:
            return cls(balance=5)  # type: ignore[call-arg]  # what is wrong with it

    with pytest.raises(ConfigurationError, match=r"Wrong\.initial\('k'\).*field owner") as caught:
        load_state(Wrong, "k", state=None, vsn=None)
    assert "handler" not in str(caught.value)


@pytest.mark.parametrize("how", ["method", "coroutine", "handler"])
def test_an_initial_that_is_no_class_method_is_refused_when_it_is_defined(how: str) -> None:
    async def asks(cls: type, key: str) -> None: ...

    def own(self: object, key: str) -> None: ...

    initial: object = {"method": own, "coroutine": classmethod(asks), "handler": handler(asks)}[how]
    with pytest.raises(ConfigurationError, match=r"Wrong\.initial is the hook"):
        type("Wrong", (Entity,), {"initial": initial, "__module__": __name__})


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")  # pydantic's word comes first; ours is an error
def test_the_names_that_every_entity_has_are_refused() -> None:
    for name, value in (("key", ""), ("turn", 0)):
        with pytest.raises(ConfigurationError, match=name):
            type("Taken", (Entity,), {"__annotations__": {name: type(value)}, name: value, "__module__": __name__})
    with pytest.raises(ConfigurationError, match="_turn"):

        class Taken(Entity):
            _turn: Any = PrivateAttr(default=7)

"""Ids, keys, and what JSON in Postgres can hold."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revenant.codec import ANYTHING, bucket_of, check_key, derived_id, digest_of, dump, keyed_id, new_id
from revenant.errors import InvalidKey, TooLarge, Unstorable
from revenant.queue.script import array


@given(st.integers(0, 255))
def test_a_new_id_is_a_uuid7_that_ends_in_its_bucket(bucket: int) -> None:
    made = uuid.UUID(new_id(bucket))
    assert (made.version, made.variant, made.bytes[15]) == (7, uuid.RFC_4122, bucket)


def test_ids_do_not_repeat() -> None:
    assert len({new_id(3) for _ in range(10_000)}) == 10_000


def test_an_idempotency_key_stands_for_one_id_per_entity() -> None:
    first = keyed_id("Account", "a", "k")
    assert first == keyed_id("Account", "a", "k")
    assert len({first, keyed_id("Account", "b", "k"), keyed_id("Other", "a", "k"), keyed_id("Account", "a", "l")}) == 4
    assert uuid.UUID(first).bytes[15] == bucket_of("Account", "a")
    assert uuid.UUID(first).variant == uuid.RFC_4122


def test_what_an_idempotency_key_stands_for_is_so_for_ever() -> None:
    assert keyed_id("Account", "a", "k") == "b34e0128-3037-8cde-be87-b6ce87473019"
    assert (
        derived_id(bucket_of("run:Shop", "größe"), "run:Shop", "größe", "x/3/step")
        == "268f03f3-06d1-82d5-bef7-e2c01fa24937"
    )


def test_a_digest_tells_messages_apart() -> None:
    assert digest_of("deposit", "{}") != digest_of("deposit", '{"amount":1}') != digest_of("withdraw", '{"amount":1}')


@pytest.mark.parametrize(
    "key", ["a", "'; drop table x; --", "100%", "👩‍👩‍👧", "שלום", '"quoted"', "new\nline", "x" * 512, "é" * 256]
)
def test_ordinary_keys(key: str) -> None:
    assert check_key("Account", key) == key


@pytest.mark.parametrize("key", ["", "x" * 513, "é" * 257, "a\0b", "\ud800", 7, None])
def test_refused_keys_say_what_to_do(key: object) -> None:
    with pytest.raises(InvalidKey, match="Account"):
        check_key("Account", key)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": float("inf")}]}, "a.1.b"),
        ({"a": "x\0"}, "a"),
        (["\udfff"], "0"),
        ({"a": {"b": {1, object()}}}, "a.b"),
        ({"k\0": 1}, "k"),
        (float("nan"), "(root)"),
    ],
)
def test_what_json_cannot_hold_is_named_by_its_path(value: object, path: str) -> None:
    with pytest.raises(Unstorable) as caught:
        dump(ANYTHING, value, what="The thing", limit=1000)
    assert caught.value.path.startswith(path)
    assert str(caught.value).startswith("The thing cannot be stored")


@pytest.mark.parametrize("value", ["NaN", "Infinity and beyond", "\\u0000", r"\\u0000", {"NaN": "-Infinity"}])
def test_words_that_only_look_dangerous_are_stored(value: object) -> None:
    assert dump(ANYTHING, value, what="The thing", limit=1000)


def test_the_limit_counts_bytes() -> None:
    assert dump(ANYTHING, "é" * 10, what="The thing", limit=22)
    with pytest.raises(TooLarge, match="22 bytes"):
        dump(ANYTHING, "é" * 10, what="The thing", limit=21)


def test_nesting_without_end_is_refused_not_followed() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(Unstorable):
        dump(ANYTHING, loop, what="The thing", limit=1000)


@pytest.mark.parametrize(
    ("values", "literal"),
    [
        ([], "{}"),
        ([1, None, 2.5], "{1,NULL,2.5}"),
        (["a", 'b"c', "d\\e", "", "NULL", "{}", ","], '{"a","b\\"c","d\\\\e","","NULL","{}",","}'),
        ([b"\x00\xff"], '{"\\\\x00ff"}'),
        ([True], "{True}"),
        ([None, False, 7], "{NULL, False, 7}"),
    ],
)
def test_array_literals(values: list[object], literal: str) -> None:
    assert array(values) == literal
